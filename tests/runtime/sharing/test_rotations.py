"""q, k and v of rotated formats rotate their input once, whichever kernel computes them: counted without running it."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from x2v_quant.formats import FORMATS, ROTATIONS, int4_convrot, int8_convrot
from x2v_quant.kernels import KERNELS
from x2v_quant.kernels.ops import COMPUTATIONS
from x2v_quant.kernels.shared_input import SharedInputs

WIDTH, ROWS, TOKENS = 4096, 32, 5
FAMILIES = (int8_convrot.NAME, int4_convrot.NAME)
ROTATING = [kernel for kernel in KERNELS if FORMATS[kernel.format].family in FAMILIES]
# they rotate the weight back, not the input
OF_WEIGHTS = {("dequant", name) for name in FAMILIES} | {("reference", int4_convrot.NAME)}
# they rotate in the call that multiplies: comfy-kitchen has no operator for activations that are quantized already
IN_ONE_CALL = {(name, int8_convrot.NAME) for name in ("comfy-kitchen", "comfyui")}
SHARING = [
    pytest.param(kernel, id=f"{kernel.name}-{kernel.format}-{index}")
    for index, kernel in enumerate(ROTATING)
    if kernel.steps is not None
]


class Layer(torch.nn.Module):
    """As much of a quantized linear as sharing sees."""

    def __init__(self, kernel):
        super().__init__()
        row = FORMATS[kernel.format]
        options = {"pre_quant_scale": torch.ones(WIDTH)} if row.smooth else {}
        self.kernel, self.weight = kernel, row.quantize(torch.ones(ROWS, WIDTH), torch.bfloat16, **options)


@pytest.fixture
def counted(monkeypatch):
    """What is done to the input and how often: every kernel's two steps give empty tensors of the right shapes."""
    calls = Counter()

    def counting(key, quantizer):
        def compute(x, *read):
            calls["rotated"] += 1
            return quantizer.like(x)

        return replace(quantizer, compute=compute)

    def product(quantized, weight, bias, dtype):
        calls["multiplied"] += 1
        return torch.zeros((len(quantized[0]), weight.shape[0]), dtype=dtype)

    for key, computation in COMPUTATIONS.items():
        if computation.quantizer is not None:
            fake = replace(computation, quantizer=counting(key, computation.quantizer), product=product)
            monkeypatch.setitem(COMPUTATIONS, key, fake)
    return calls


@pytest.mark.parametrize("kernel", SHARING)
def test_three_layers_rotate_their_input_once(kernel, counted):
    group = tuple(Layer(kernel) for _ in range(3))
    shared = SharedInputs()
    for number in (1, 2):
        x = torch.ones((TOKENS, WIDTH), dtype=torch.bfloat16)
        shared.enter(dict.fromkeys(group, group))
        for layer in group:
            y = shared.linear(layer, kernel, x, lambda x: x, layer.weight, None)
            assert y.shape == (TOKENS, ROWS)
        shared.leave()
        assert counted == {"rotated": number, "multiplied": 3 * number}


def test_every_other_kernel_of_these_formats_is_known():
    others = {(kernel.name, FORMATS[kernel.format].family) for kernel in ROTATING if kernel.steps is None}
    assert others == {pair for pair in OF_WEIGHTS | IN_ONE_CALL if ROTATIONS[pair[1]]}
    sharing = {(case.values[0].name, FORMATS[case.values[0].format].family) for case in SHARING}
    names = ("torch", "triton", "reference") if ROTATIONS[int8_convrot.NAME] else ()
    assert sharing == {(name, int8_convrot.NAME) for name in names} | {("triton", int4_convrot.NAME)}
