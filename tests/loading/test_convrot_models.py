"""Other models in ComfyUI's rotated int8: the families that it has them of, the text encoder and CLIP vision."""

import pytest
import torch
from distance import distance
from family_files import FAMILIES, metadata_of, run, tell_sizes, tensors_of
from older_comfyui import core_rotates_int8, in_core
from rotated_files import int8_layers, rotated
from safetensors.torch import save_file

from x2v_quant.benchmarks import encoders
from x2v_quant.benchmarks.quantize import quantized
from x2v_quant.layer_rules import select
from x2v_quant.loading.clip_vision import load_clip_vision
from x2v_quant.loading.dit import load_dit
from x2v_quant.loading.t5 import load_t5
from x2v_quant.schemes import SchemeChoice

pytestmark = [pytest.mark.usefixtures("inference"), core_rotates_int8]
AS_CORE = SchemeChoice(
    dit="int8-convrot-comfyui", t5="int8-convrot-comfyui", clip="int8-convrot-comfyui", compute_dtype="fp32"
)
SIZES = {"width": 320, "mlp": 320, "blocks": 3}


@pytest.mark.parametrize("name", in_core(FAMILIES))
def test_a_family_under_comfyuis_names(name, tmp_path, monkeypatch):
    import comfy.sd

    tell_sizes(name, monkeypatch)
    dense = tensors_of(name)
    shapes = {
        key.removesuffix(".weight"): tuple(tensor.shape)
        for key, tensor in dense.items()
        if key.endswith(".weight") and tensor.ndim == 2
    }
    layers = select(shapes, dense, "int8-convrot").formats
    stored = {key: tensor.contiguous() for key, tensor in rotated(dense, layers).items()}
    save_file(stored, tmp_path / "model.safetensors", metadata_of(name))
    ours = load_dit(str(tmp_path / "model.safetensors"), AS_CORE)
    assert {entry.file_format for entry in ours.model.x2v_plan.layers.values()} <= {
        "int8-convrot",
        "int8-convrot-64",
        "int8-convrot-16",
    }
    # from the file as well: sums depend on where in memory a tensor begins
    read = comfy.utils.load_torch_file(str(tmp_path / "model.safetensors"))
    core = comfy.sd.load_diffusion_model_state_dict(read, {"dtype": torch.float32}, metadata=metadata_of(name))
    assert torch.equal(run(name, ours), run(name, core))
    plain = comfy.sd.load_diffusion_model_state_dict(dict(dense), {"dtype": torch.float32}, metadata=metadata_of(name))
    assert 1e-4 < distance(run(name, ours), run(name, plain)) < 0.045


def _encoded(clip):
    tokens = torch.tensor([[5, 6, 7, 1]])
    return clip.cond_stage_model.umt5xxl.transformer(tokens, None)[0]


def test_the_text_encoder(tmp_path):
    spiece = encoders.spiece_model(1)
    (tmp_path / "spiece.model").write_bytes(spiece)
    dense = encoders.umt5(1, encoders.pieces(spiece), 64)
    int8 = quantized(dense, "int8", "t5")
    torch.save(int8, tmp_path / "int8.pth")
    torch.save(rotated(dense, int8_layers(int8)), tmp_path / "rotated.pth")
    plain = load_t5(str(tmp_path / "int8.pth"), SchemeChoice(t5="dequant", compute_dtype="fp32"))
    for scheme in ("auto", "int8-convrot-comfyui", "int8-convrot-dequant", "int8-convrot-reference"):
        clip = load_t5(str(tmp_path / "rotated.pth"), SchemeChoice(t5=scheme, compute_dtype="fp32"))
        held = {entry.file_format for entry in clip.cond_stage_model.x2v_plan.layers.values()}
        assert held <= {"int8-convrot-64", "int8-convrot-16"}
        assert distance(_encoded(clip), _encoded(plain)) < 0.04


def test_clip_vision(tmp_path):
    dense = encoders.clip_vision(1, **SIZES)
    int8 = quantized(dense, "int8", "clip")
    torch.save(int8, tmp_path / "int8.pth")
    torch.save(rotated(dense, int8_layers(int8)), tmp_path / "rotated.pth")
    image = torch.rand((1, 64, 64, 3), generator=torch.Generator().manual_seed(0))
    plain = load_clip_vision(str(tmp_path / "int8.pth"), SchemeChoice(clip="dequant", compute_dtype="fp32"))
    expected = plain.encode_image(image).penultimate_hidden_states
    for scheme in ("auto", "int8-convrot-comfyui", "int8-convrot-reference"):
        clip = load_clip_vision(str(tmp_path / "rotated.pth"), SchemeChoice(clip=scheme, compute_dtype="fp32"))
        assert distance(clip.encode_image(image).penultimate_hidden_states, expected) < 0.04
