"""Models of other families, small ones of core's own with random weights, through their own forward."""

import family_files
import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from distance import distance
from older_comfyui import core_knows_minimax_h3
from safetensors.torch import load_file

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import LIGHTX2V
from x2v_quant.loading.dit import load_dit
from x2v_quant.quantizing.saving import save_model
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
HIDDEN = 256
FLUX = {
    "image_model": "flux",
    "in_channels": 16,
    "out_channels": 16,
    "context_in_dim": HIDDEN,
    "hidden_size": HIDDEN,
    "num_heads": 2,
    "depth": 2,
    "depth_single_blocks": 2,
    "axes_dim": [16, 56, 56],
    "theta": 256,
    "qkv_bias": True,
    "mlp_ratio": 4.0,
    "patch_size": 2,
    "vec_in_dim": 64,
    "guidance_embed": True,
    "txt_ids_dims": [],
}
QWEN = {"image_model": "qwen_image", "num_layers": 2, "num_attention_heads": 2, "joint_attention_dim": HIDDEN}
Z_IMAGE = {
    "image_model": "lumina2",
    "dim": HIDDEN,
    "n_layers": 2,
    "n_refiner_layers": 1,
    "n_heads": 2,
    "axes_dims": (32, 48, 48),
    "axes_lens": (64, 64, 64),
    "cap_feat_dim": HIDDEN,
    "in_channels": 16,
    "qk_norm": True,
    "z_image_modulation": True,
    "pad_tokens_multiple": 32,
}
# name of core's row in supported_models -> (its configuration, more that its forward takes, family)
FAMILIES = {
    "Flux": (FLUX, {"y": torch.ones(1, 64), "guidance": torch.ones(1)}, "Flux"),
    "QwenImage": (QWEN, {}, "Qwen-Image"),
    "ZImage": (Z_IMAGE, {"num_tokens": 8}, "Z-Image (Lumina 2)"),
}


@pytest.fixture
def build():
    """name in FAMILIES -> core's MODEL."""
    import comfy.model_patcher
    import comfy.supported_models

    def make(name):
        config = getattr(comfy.supported_models, name)(dict(FAMILIES[name][0]))
        config.set_inference_dtype(torch.float32, None)
        model = config.get_model({}, "")
        generator = torch.Generator().manual_seed(1)
        for key, parameter in model.diffusion_model.named_parameters():
            one = key.endswith("weight") and parameter.ndim == 1
            spread = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.02
            values = torch.randn(parameter.shape, generator=generator) * spread
            parameter.data.copy_(torch.ones_like(values) if one else values)
        cpu = torch.device("cpu")
        return comfy.model_patcher.ModelPatcher(model, cpu, cpu)

    return make


@pytest.mark.parametrize("name", FAMILIES)
def test_the_output_stays_near(name, build, quantize):
    from x2v_quant.quantizing import select_in_model

    _, more, family = FAMILIES[name]
    model = build(name)
    assert select_in_model(model, "int8-channel", "", SchemeChoice()).family == family
    made = quantize(model)
    generator = torch.Generator().manual_seed(2)
    x, context = torch.randn((1, 16, 16, 16), generator=generator), torch.randn((1, 8, HIDDEN), generator=generator)
    x = x.unsqueeze(2) if name == "QwenImage" else x

    def output(patcher):
        return patcher.model.diffusion_model(x, torch.tensor([0.5]), context, **more)

    wanted, got = output(model), output(made)
    assert not any(isinstance(p, QuantizedTensor) for p in model.model.parameters())
    assert sum(isinstance(p, QuantizedTensor) for p in made.model.parameters()) == len(made.model.x2v_plan.layers) > 10
    assert torch.isfinite(wanted).all()
    print(f"{family}: {distance(got, wanted):.4f}")
    assert 0 < distance(got, wanted) < 0.05


# ComfyUI's layer -> what LightX2V has of it, and how many of them
APART = {
    "Flux": ("single_blocks.1.linear1", "single_transformer_blocks.1.proj_mlp", 4 / 7),
    "ZImage": ("layers.1.attention.qkv", "layers.1.attention.to_k", 1 / 3),
}


@pytest.mark.parametrize("name,format_name", [("Flux", "int8-channel"), ("ZImage", "int8-channel"), ("Flux", "mxfp8")])
def test_saved_for_lightx2v_layers_are_apart(name, format_name, build, quantize, tmp_path):
    made = quantize(build(name), format_name)
    path = tmp_path / "model.safetensors"
    assert save_model(made, path, LIGHTX2V) == path.stat().st_size
    layer, part, share = APART[name]
    checkpoint = open_checkpoint(path)
    assert checkpoint.layers[part].shape[0] == share * made.model.diffusion_model.get_submodule(layer).out_features
    loaded = checkpoint.load()
    diffusion_model = made.model.diffusion_model
    for key, held in loaded.quantized.items():
        weight = diffusion_model.get_submodule(key).weight
        found = held.wrap(weight.dtype)
        assert torch.equal(found.dequantize(), weight.dequantize()), key
    kept = {
        key: tensor for key, tensor in diffusion_model.named_parameters() if not isinstance(tensor, QuantizedTensor)
    }
    assert loaded.plain.keys() == kept.keys()
    assert all(torch.equal(loaded.plain[key], tensor) for key, tensor in kept.items())


@core_knows_minimax_h3
def test_a_model_of_heads_wider_than_itself_is_saved_as_lightx2v_has_it(tmp_path):
    """And without the constant that its engine computes."""
    there, back = tmp_path / "there.safetensors", tmp_path / "back.safetensors"
    family_files.write(there, "minimax-h3", "int8", family_files.tensors_of("minimax-h3"))
    save_model(load_dit(str(there)), back, LIGHTX2V)
    given, found = load_file(there), load_file(back)
    assert found.keys() == given.keys()
    codes = [key for key, tensor in given.items() if tensor.dtype is torch.int8]
    assert len(codes) == 14
    for key in (*codes, *(f"{key}_scale" for key in codes)):
        assert torch.equal(found[key], given[key]), key
