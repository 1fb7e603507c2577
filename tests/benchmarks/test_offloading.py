"""The benchmark of offloading: what can be run of it without a GPU."""

import pytest
import safetensors
import torch

from x2v_quant.benchmarks import offloading, random_file
from x2v_quant.kernels.machine import default_device
from x2v_quant.kernels.timing.clock import FULL, QUICK
from x2v_quant.loading.dit import load_dit

pytestmark = pytest.mark.usefixtures("inference")


@pytest.fixture(params=offloading.KINDS)
def file(request, tmp_path):
    path = tmp_path / "wan.safetensors"
    random_file.write(path, random_file.specs(offloading.QUICK_MODEL, offloading.QUICK_MODEL.blocks, request.param))
    return path


def test_files_load_and_their_steps_are_finite_and_timed(file):
    model = load_dit(str(file))
    seen = []
    seconds = offloading.step_seconds(model, offloading.QUICK_LATENT, lambda: seen.append(offloading.held(model)))
    assert 0 < seconds < 60
    assert len(seen) == offloading.STEPS and all(0 < held <= model.model_size() for held in seen)
    with safetensors.safe_open(file, framework="pt") as opened:
        weight = opened.get_tensor("blocks.0.ffn.0.weight")
    assert weight.dtype in random_file.CODES.values()
    assert torch.isfinite(weight.float()).all()


def test_what_streams_is_counted(file):
    from comfy.patcher_extension import WrappersMP

    from x2v_quant.runtime.offload.apply import KEY

    class Buffers:
        device_bytes = 1000

        def __call__(self, executor, *args, **kwargs):
            return executor(*args, **kwargs)

    model = load_dit(str(file))
    before = offloading.held(model)
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, Buffers())
    assert offloading.held(model) == before + 1000


@pytest.mark.skipif(default_device().type != "cpu", reason="this machine has a GPU to measure")
@pytest.mark.parametrize("effort", [QUICK, FULL])
def test_without_a_gpu_it_says_so(effort):
    cases = offloading.cases(effort)
    assert [case.absent for case in cases] == ["needs a GPU: what computes on the CPU has nowhere to move to"] * 2
    assert not any(case.ours or case.theirs for case in cases)
