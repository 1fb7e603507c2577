"""Every scheme in the table loads a file of its format and samples, on whatever kernel this machine has for it."""

import pytest

from x2v_quant.formats import FORMATS
from x2v_quant.loading.dit import load_dit
from x2v_quant.schemes import DIT, SCHEMES, SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
# distance of the latents from those of the unquantized model
LIMITS = {
    "int8-channel": 0.02,
    "int8-convrot": 0.02,
    "w4a8": 0.15,
    "fp8-channel": 0.06,
    "fp8-block128": 0.06,
    "fp8-tensor": 0.08,
    "mxfp8": 0.08,
    "mxfp6": 0.10,
    "mxfp4": 0.30,
    "int4-g128": 0.20,
    "int4-g128-convrot": 0.20,
    "awq-w4a16": 0.20,
    "convrot-w4a4": 0.5,
    "nvfp4": 0.25,
}
CASES = [row for row in SCHEMES if row.format in FORMATS and DIT in row.components]


@pytest.mark.parametrize("scheme", CASES, ids=lambda row: row.name)
def test_it_samples_within_the_error_of_its_format(scheme, wan_files, load_dense, sample):
    dense, path = wan_files[scheme.format]
    model = load_dit(path, SchemeChoice(dit=scheme.name))
    expected = sample(load_dense(dense))
    assert (sample(model) - expected).norm() < LIMITS[scheme.format] * expected.norm()
    plan = model.model.x2v_plan
    entries = list(plan.layers.values())
    assert len(entries) == 20
    if not all(entry.choice.kernel.called(scheme.kernel) for entry in entries):
        assert all(len(entry.choice.passed_over[scheme.kernel].split()) > 3 for entry in entries)
        assert scheme.kernel in plan.fallback()


def test_the_table_is_complete():
    """The schemes a user can name, each with a format that is read here."""
    documented = (
        *("fp8-vllm", "int8-vllm", "fp8-sgl", "int8-sgl", "fp8-q8f", "int8-q8f", "int8-torchao"),
        *("int4-g128-marlin", "fp8-b128-deepgemm", "fp8-torchao", "fp8-triton", "int8-triton", "fp8-pertensor"),
        *("mxfp8", "nvfp4", "fp8-f16-accum"),
    )
    assert {row.name for row in CASES} >= set(documented)
