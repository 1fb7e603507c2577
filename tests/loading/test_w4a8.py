"""w4a8 files: as int8 of the same values from the start, saved by this pack and by ComfyUI, quantized in the graph."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from comfy_kitchen.tensor import QuantizedTensor
from older_comfyui import core_rotates_int8
from small_wan import saved_by_core

from x2v_quant.checkpoints.encodings import COMFYUI, X2V
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.formats import FORMATS, ROTATIONS
from x2v_quant.layer_rules import Selection
from x2v_quant.loading.dit import load_dit
from x2v_quant.quantizing import quantize_model
from x2v_quant.quantizing.saving import save_model
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
NAMES = tuple(ROTATIONS["w4a8"].values())
REFERENCE = SchemeChoice(dit="w4a8-reference", compute_dtype="fp32")


def weights(model):
    return {
        name: module.weight
        for name, module in model.model.diffusion_model.named_modules()
        if isinstance(getattr(module, "weight", None), QuantizedTensor)
    }


def codes_and_scales(model):
    """In bytes."""
    return sum(tensor.nbytes for weight in weights(model).values() for tensor in weight.state_dict().values())


def same_codes(found, expected):
    assert found.keys() == expected.keys()
    for layer, weight in expected.items():
        row = FORMATS["w4a8"]
        for one, other in zip(
            row.parts(found[layer]._qdata, found[layer]._params), row.parts(weight._qdata, weight._params), strict=True
        ):
            assert torch.equal(one.view(torch.uint8), other.view(torch.uint8))
        assert found[layer]._params.convrot_groupsize == weight._params.convrot_groupsize


@core_rotates_int8
@pytest.mark.parametrize("name", NAMES)
def test_it_becomes_int8_while_it_is_loaded_and_gives_the_same_latents(name, wan_files, sample):
    path = wan_files[name][1]
    small, wide = (
        load_dit(path, SchemeChoice(dit=scheme, compute_dtype="fp32"))
        for scheme in ("w4a8-torch", "int8-convrot-torch")
    )
    rotation = FORMATS[name].rotation
    entries = list(wide.model.x2v_plan.layers.values())
    assert {entry.file_format for entry in entries} == {name}
    assert {entry.choice.format for entry in entries} == {ROTATIONS["int8-convrot"][rotation]}
    assert f"converted from {name}, which changes no value" in "\n".join(wide.model.x2v_plan.lines())
    assert 1.7 < codes_and_scales(wide) / codes_and_scales(small) < 2
    kernels = {entry.choice.kernel.name for model in (small, wide) for entry in model.model.x2v_plan.layers.values()}
    if kernels != {"torch"}:
        pytest.skip("this CPU has no int8 dot-product instructions: each is dequantized, and rounded on the way")
    assert torch.equal(sample(small), sample(wide))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dialect", [COMFYUI, X2V])
def test_what_is_saved_is_what_was_loaded(name, dialect, wan_files, tmp_path):
    model = load_dit(wan_files[name][1], REFERENCE)
    save_model(model, tmp_path / "saved.safetensors", dialect)
    same_codes(weights(load_dit(str(tmp_path / "saved.safetensors"), REFERENCE)), weights(model))


@pytest.mark.parametrize("name", NAMES)
def test_so_is_what_core_saves_whether_it_knows_the_format_or_not(name, wan_files, tmp_path):
    model = load_dit(wan_files[name][1], REFERENCE)
    path = saved_by_core(model, tmp_path / "core.safetensors")
    marker = next(t for key, t in safetensors.torch.load_file(path).items() if key.endswith(".comfy_quant"))
    settings = FORMATS[name].settings
    assert json.loads(bytes(marker.tolist())) == {"format": "asym_w4a8_int8", **settings}
    same_codes(weights(load_dit(str(path), REFERENCE)), weights(model))


@pytest.mark.parametrize("dialect", [COMFYUI, X2V])
def test_the_graph_and_the_command_quantize_alike(dialect, wan_files, load_dense, tmp_path):
    dense = wan_files["w4a8"][0]
    layers = load_dit(wan_files["w4a8"][1], REFERENCE).model.x2v_plan.layers
    made = quantize_model(load_dense(dense), Selection("Wan", dict.fromkeys(layers, "w4a8")), REFERENCE)
    convert(Path(dense), tmp_path / "out.safetensors", Options(format="w4a8", dialect=dialect))
    same_codes(weights(load_dit(str(tmp_path / "out.safetensors"), REFERENCE)), weights(made))


def test_codes_stay_where_the_format_does(wan_files, tmp_path):
    path, again = Path(wan_files["w4a8-64"][1]), tmp_path / "again.safetensors"
    convert(path, again, Options(dialect=X2V))
    same_codes(weights(load_dit(str(again), REFERENCE)), weights(load_dit(str(path), REFERENCE)))
