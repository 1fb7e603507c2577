"""One linear layer of this pack with random weights."""

import torch

from x2v_quant.formats import FORMATS
from x2v_quant.formats.convert import convert
from x2v_quant.kernels.machine import describe
from x2v_quant.linear import operations
from x2v_quant.schemes import resolve
from x2v_quant.schemes.plan import Plan

N, K = 128, 256
NAME, DTYPE = "blocks.0.layer", torch.bfloat16
# the formats that can hold it: a rotation is as wide as its group
HOLDING = [name for name, row in FORMATS.items() if K % row.settings.get("convrot_groupsize", 1) == 0]


def layer_of(format_name: str, inside: bool = True) -> torch.nn.Module:
    """A layer of N rows and K columns, loaded in or outside of inference mode; float if the name is none of FORMATS."""
    plan = Plan("a file", resolve("auto", "dit"), describe(torch.device("cpu")), DTYPE)
    generator = torch.Generator().manual_seed(3)
    with torch.inference_mode(inside):
        weight = torch.randn((N, K), generator=generator)
        if format_name in FORMATS:
            options = {"pre_quant_scale": torch.full((K,), 0.5)} if FORMATS[format_name].smooth else {}
            held = FORMATS[format_name].quantize(weight, DTYPE, **options)
            weight = convert(held, plan.assign(NAME, format_name, (N, K)).choice.format)
        layer = operations(plan).Linear(K, N, device="cpu", dtype=DTYPE)
        tensors = {f"{NAME}.weight": weight, f"{NAME}.bias": torch.randn(N, generator=generator).to(DTYPE)}
        layer._load_from_state_dict(tensors, f"{NAME}.", {}, True, [], [], [])
    return layer
