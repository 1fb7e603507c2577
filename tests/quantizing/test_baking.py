"""LoRAs beside the weights are in what is saved and in what is quantized; what cannot be in a file is named."""

import comfy.sd
import pytest
import small_wan
import torch
from comfy.patcher_extension import PatcherInjection
from distance import distance

from x2v_quant.checkpoints.encodings import DIALECTS, LIGHTX2V, X2V
from x2v_quant.loading.dit import load_dit
from x2v_quant.loras import LoRAError, apply_lora
from x2v_quant.quantizing.left_out import left_out
from x2v_quant.quantizing.saving import save_model
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
FP32 = SchemeChoice(compute_dtype="fp32")
LAYERS = ("blocks.0.self_attn.q", "blocks.1.ffn.0", "blocks.1.ffn.2", "text_embedding.0")
FORMATS = ("int8-channel", "fp8-channel", "nvfp4", "int4-g128")


def lora(model):
    layers = {name: model.model.diffusion_model.get_submodule(name) for name in LAYERS}
    return small_wan.lora({name: (layer.out_features, layer.in_features) for name, layer in layers.items()})


def ours(model):
    return apply_lora(model, lora(model), "lora.safetensors", 1.0, "bypass")[0]


def cores(model):
    return comfy.sd.load_bypass_lora_for_models(model, None, lora(model), 1.0, 0)[0]


def modulated(model):
    """What core's patcher never patches, so that it is an object patch."""
    shift = {"diffusion_model.blocks.1.diff_m": torch.full((1, 6, 128), 0.3), **lora(model)}
    return apply_lora(model, shift, "lora.safetensors", 1.0, "merge")[0]


BESIDE = (ours, cores, lambda model: ours(cores(model)), lambda model: cores(ours(model)), modulated)
NAMES = ("ours", "core's", "both", "both turned", "modulation")
each_way = pytest.mark.parametrize("beside", BESIDE, ids=NAMES)


@each_way
@pytest.mark.parametrize("format_name", FORMATS)
def test_what_is_saved_is_what_is_sampled(format_name, beside, dense, quantize, sample, tmp_path):
    alone = quantize(dense(), format_name)
    model = beside(alone)
    path = tmp_path / "model.safetensors"
    before = sample(model)
    save_model(model, path, X2V)
    assert torch.equal(sample(model), before)
    saved = sample(load_dit(str(path), FP32))
    assert distance(saved, before) < 0.05 < 0.25 < distance(sample(alone), before)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_in_every_dialect(dialect, dense, quantize, sample, tmp_path):
    alone = quantize(dense())
    path = tmp_path / "model.safetensors"
    save_model(ours(alone), path, dialect)
    assert distance(sample(load_dit(str(path), FP32)), sample(ours(alone))) < 0.02


@each_way
@pytest.mark.parametrize("format_name", FORMATS)
def test_what_is_quantized_has_it_in_its_weights(format_name, beside, dense, quantize, sample):
    model = beside(dense())
    before = sample(model)
    made = quantize(model, format_name)
    assert not any(key.startswith(("bypass_lora", "x2v_bypass")) and held for key, held in made.injections.items())
    limit = {"nvfp4": 0.2, "int4-g128": 0.25}.get(format_name, 0.05)
    assert distance(sample(made), before) < limit < 0.3 < distance(sample(dense()), before)
    assert torch.equal(sample(model), before)


def test_another_format_has_it_too(dense, quantize, sample):
    """From 4 bits, where Load LoRA's auto lies beside the weights."""
    model = apply_lora(quantize(dense(), "nvfp4"), lora(dense()), "lora.safetensors")[0]
    assert distance(sample(quantize(model, "int8-channel")), sample(model)) < 0.02


def test_what_does_something_else_in_a_weight_is_refused(dense, quantize, tmp_path):
    """Core leaves a DoRA's scale out beside a weight."""
    layer = "diffusion_model.blocks.0.self_attn.q"
    dora = {
        f"{layer}.lora_A.weight": torch.ones(4, 128),
        f"{layer}.lora_B.weight": torch.ones(128, 4),
        f"{layer}.dora_scale": torch.ones(128, 1),
    }
    model = comfy.sd.load_bypass_lora_for_models(quantize(dense()), None, dora, 1.0, 0)[0]
    with pytest.raises(
        LoRAError, match=r"blocks\.0\.self_attn\.q has a bypass LoRA .* Load it with Load LoRA \(any format\), mode"
    ):
        save_model(model, tmp_path / "model.safetensors", X2V)
    assert not list(tmp_path.iterdir())
    merged = apply_lora(quantize(dense()), dora, "lora.safetensors", 1.0)[0]
    save_model(merged, tmp_path / "model.safetensors", LIGHTX2V)


def _sampling(model):
    model.add_object_patch("model_sampling", model.get_model_object("model_sampling"))


def _function(model):
    model.set_model_unet_function_wrapper(lambda apply, given: apply(given["input"], given["timestep"], **given["c"]))


def _attention(model):
    model.set_model_attn2_patch(lambda q, k, v, extra: (q, k, v))


def _cfg(model):
    model.set_model_sampler_cfg_function(lambda args: args["cond"])


def _wrapper(model):
    model.add_wrapper_with_key("diffusion_model", "theirs", lambda executor, *args, **kwargs: executor(*args, **kwargs))


def _weight(model):
    model.add_weight_wrapper("diffusion_model.blocks.0.ffn.0.weight", lambda weight: weight)


def _around(model):
    model.set_injections("theirs", [PatcherInjection(lambda _: None, lambda _: None)])


@pytest.mark.parametrize(
    "set_on,named",
    [
        (_sampling, "model_sampling"),
        (_function, "model_function_wrapper"),
        (_attention, "patches"),
        (_cfg, "sampler_cfg_function"),
        (_wrapper, "theirs"),
        (_weight, "the weight wrapper of diffusion_model.blocks.0.ffn.0.weight"),
        (_around, "theirs"),
    ],
)
def test_what_is_in_no_file_is_named(set_on, named, dense, quantize):
    model = modulated(ours(quantize(dense())))
    assert left_out(model) == []
    changed = model.clone()
    set_on(changed)
    assert named in left_out(changed)
    assert left_out(model) == []


def test_what_leaves_the_results_as_they_are_is_not_named(dense, quantize):
    from x2v_quant.calibration.recorder import calibrated
    from x2v_quant.loading.experts import make_room_for_each_other

    model = quantize(dense())
    make_room_for_each_other(model, quantize(dense()))
    assert left_out(calibrated(model)[0]) == []
