"""What is measured against ComfyUI's own int8 layers needs a ComfyUI that has them."""

import pytest

from x2v_quant.core.features import reads_int8

AGAINST_CORES_INT8 = ("test_bench", "test_fidelity", "test_file_converting", "test_offloading")


@pytest.fixture(autouse=True)
def core_has_what_is_measured_against(request):
    if not reads_int8() and request.path.stem.startswith(AGAINST_CORES_INT8):
        pytest.skip("this ComfyUI has no int8 layers of its own to measure against (0.27 and newer have)")
