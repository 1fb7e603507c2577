"""Rotated int8 lies in core's own layout: it is offloaded like the layouts of this pack."""

import pytest
import torch
from older_comfyui import core_rotates_int8

from x2v_quant.checkpoints.encodings import X2V
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.demo import assets
from x2v_quant.loading.dit import load_dit
from x2v_quant.runtime.offload import OffloadSettings

pytestmark = core_rotates_int8


@pytest.fixture(scope="module", params=["int8-convrot", "w4a8"])
def rotated(request, demo_models, tmp_path_factory):
    path = tmp_path_factory.mktemp("rotated") / "rotated.safetensors"
    source = demo_models / "diffusion_models" / assets.names(assets.ORIGINAL).t2v
    convert(source, path, Options(format=request.param, dialect=X2V))
    return str(path)


@pytest.mark.parametrize("mode", ["block", "phase", "disk"])
def test_the_latents_stay(mode, rotated, sample, offload_on_cpu):
    with torch.inference_mode():
        model = load_dit(rotated)
        first = sample(model, steps=1)
        for budget in (None, model.model_size() / 2e9):
            made = offload_on_cpu(model, OffloadSettings(mode, budget_gb=budget))
            assert torch.equal(sample(made, steps=1), first)
