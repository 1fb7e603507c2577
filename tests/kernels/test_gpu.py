"""On a GPU: every runnable kernel at Wan's shapes against the reference, and what auto takes."""

import pytest
import torch

from x2v_quant.formats import FORMATS, SMOOTHED
from x2v_quant.kernels import choose, survey
from x2v_quant.kernels.machine import default_device, describe
from x2v_quant.kernels.reference import reference
from x2v_quant.kernels.timing.kernels import WAN_1_3B, WAN_14B

pytestmark = pytest.mark.gpu
DEVICE = default_device()
# 81 frames of 480p and of 720p, a prompt, an image's tokens, one
TOKENS = (32760, 75600, 512, 257, 1)
FAMILIES = [name for name, row in FORMATS.items() if name in (row.family, SMOOTHED.get(row.family))]
# a kernel rounds its own activations and its output; FP16 accumulation adds a little
LIMIT = 0.02
ROWS_CHECKED = 2048


def free_bytes():
    return torch.cuda.mem_get_info(DEVICE)[0]


@pytest.mark.parametrize("format_name", FAMILIES)
@pytest.mark.parametrize("n,k", [*WAN_1_3B, *WAN_14B])
@pytest.mark.parametrize("tokens", TOKENS)
def test_every_runnable_kernel_equals_the_reference(tokens, n, k, format_name, inference):
    if free_bytes() < 8 * (tokens * (n + k) + n * k):
        pytest.skip("not enough memory on this GPU for this shape")
    machine = describe(DEVICE)
    generator = torch.Generator(device=DEVICE).manual_seed(0)
    x = torch.randn((tokens, k), device=DEVICE, generator=generator).to(torch.bfloat16)
    x[:, k // 2] *= 50
    x[-1] = 0 if tokens > 1 else x[-1]
    weight = torch.randn((n, k), device=DEVICE, generator=generator) / k**0.5
    bias = torch.randn(n, device=DEVICE, generator=generator).to(torch.bfloat16)
    # the last rows are where tails and large offsets go wrong
    part = x[-ROWS_CHECKED:]
    ran = []
    for name, reason in survey(format_name, machine, (n, k), torch.bfloat16).items():
        if reason is not None or name == "reference":
            continue
        choice = choose(format_name, machine, (n, k), name, strict=True, dtype=torch.bfloat16)
        stored = FORMATS[choice.format].quantize(weight, torch.bfloat16)
        activation = choice.kernel.activation
        expected = reference(part.float(), choice.format, stored._qdata, stored._params, bias, activation)
        y = choice.kernel.linear(x, stored._qdata, stored._params, bias)
        assert y.shape == (tokens, n), name
        assert y.dtype == torch.bfloat16, name
        error = ((y[-ROWS_CHECKED:].float() - expected).norm() / expected.norm()).item()
        assert error < LIMIT, f"{name}: {error:.3%}"
        ran.append(name)
    assert "dequant" in ran


def test_low_precision_is_multiplied_where_the_gpu_can():
    machine = describe(DEVICE)
    if not machine.nvidia or machine.capability < (8, 9):
        pytest.skip(f"{machine} has no fp8")
    assert choose("fp8-channel", machine, (1536, 1536)).kernel.activation == "fp8"
    assert choose("int8-channel", machine, (1536, 1536)).kernel.activation == "int8"
