"""torch.compile(fullgraph=True) over a block of core's Wan, with every kernel that runs here."""

import pytest
import torch
from small_wan import pytorch_attention

from x2v_quant.formats import FORMATS, SMOOTHED
from x2v_quant.kernels import KERNELS, survey
from x2v_quant.kernels.machine import default_device, describe
from x2v_quant.loading.dit import load_dit
from x2v_quant.schemes import SCHEMES, SchemeChoice

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("inference", "fresh_dynamo")]


def scheme_of(format_name, kernel):
    family = FORMATS[format_name].family
    return next(row.name for row in SCHEMES if row.kernel == kernel and row.format in (None, family))


CASES = [
    (format_name, kernel)
    for format_name, row in FORMATS.items()
    if format_name in (row.family, SMOOTHED["int8-channel"])
    for kernel, reason in survey(format_name, describe(default_device())).items()
    if reason is None
]
IN_FLOAT32 = {row.name for row in KERNELS if row.requires.dtypes == (torch.float32,)}


@pytest.fixture
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("format_name,kernel", CASES)
def test_a_wan_block_is_one_graph(format_name, kernel, wan_files):
    import comfy.model_management

    choice = SchemeChoice(dit=scheme_of(format_name, kernel), compute_dtype="fp32" if kernel in IN_FLOAT32 else "auto")
    model = load_dit(wan_files[format_name][1], choice)
    comfy.model_management.load_models_gpu([model])
    wan, device = model.model.diffusion_model, default_device()
    width = wan.blocks[0].ffn[0].in_features
    dtype = model.model.get_dtype_inference()
    x = torch.randn((1, 8, width), device=device).to(dtype)
    time = torch.randn((1, 6, width), device=device).to(dtype)
    prompt = torch.randn((1, 5, width), device=device).to(dtype)
    positions = wan.rope_encode(1, 4, 8, device=device)
    options = {"optimized_attention_override": pytorch_attention}
    expected = wan.blocks[0](x, time, positions, prompt, transformer_options=options)
    compiled = torch.compile(wan.blocks[0], fullgraph=True, backend="eager")
    got = compiled(x, time, positions, prompt, transformer_options=options)
    assert {entry.choice.kernel.name for entry in model.model.x2v_plan.layers.values()} == {kernel}
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)
