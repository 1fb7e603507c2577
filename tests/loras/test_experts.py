"""LoRA files for both experts of Wan 2.2: each MODEL gets its part, and the report says which."""

import json
import shutil

import pytest
import safetensors.torch
import torch

from x2v_quant.benchmarks.quantize import quantized
from x2v_quant.loading.dit import load_dit
from x2v_quant.loading.experts import load_experts
from x2v_quant.loras import LoRAError, apply_lora
from x2v_quant.quantizing import quantize_model, select_in_model
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
NAME = "lora.safetensors"
CHOICE = SchemeChoice(dit="dequant", compute_dtype="fp32")


@pytest.fixture(scope="module")
def files(original, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    safetensors.torch.save_file(quantized(original, "int8", "dit"), folder / "wan_high_noise.safetensors")
    for name in ("wan_low_noise.safetensors", "wan.safetensors"):
        shutil.copy(folder / "wan_high_noise.safetensors", folder / name)
    return folder


@pytest.fixture
def pair(files):
    return load_experts(str(files / "wan_high_noise.safetensors"), str(files / "wan_low_noise.safetensors"), CHOICE)


@pytest.fixture
def part(plain):
    """part(seed, prefix) -> a LoRA under another prefix; one that ends with "_" has no dots behind it."""

    def make(seed, prefix):
        made = {}
        for key, tensor in plain(seed).items():
            layer, end = key.removeprefix("diffusion_model.").split(".lora_")
            made[f"{prefix}{layer.replace('.', '_') if prefix.endswith('_') else layer}.lora_{end}"] = tensor
        return made

    return make


def patches(patcher):
    return {name: [patch.weights[0].sum().item() for _, patch, *_ in held] for name, held in patcher.patches.items()}


# what begins the keys of the high-noise expert's part, and of the low-noise expert's
BOTH = {
    "diffusers": ("transformer.", "transformer_2."),
    "peft": ("base_model.model.transformer.", "base_model.model.transformer_2."),
    "compiled": ("transformer._orig_mod.", "transformer_2._orig_mod."),
    "wrapped": ("module.transformer.", "module.transformer_2."),
    "flat": ("lora_transformer_", "lora_transformer_2_"),
    "diffsynth": ("pipe.dit.", "pipe.dit2."),
    "ai-toolkit": ("diffusion_model.transformer_1.", "diffusion_model.transformer_2."),
    "numbered flat": ("lora_unet_transformer_1_", "lora_unet_transformer_2_"),
    "words": ("high_noise.", "low_noise."),
    "short words": ("diffusion_model.high.", "diffusion_model.low."),
    "behind": ("transformer_high_noise.", "transformer_low_noise."),
    "lightx2v": ("high_noise_model.", "low_noise_model."),
    "comfyui": ("diffusion_model.high_noise_model.", "diffusion_model.low_noise_model."),
}


@pytest.mark.parametrize("prefixes", BOTH)
def test_each_expert_gets_its_part(prefixes, pair, part, plain):
    both = part(1, BOTH[prefixes][0]) | part(2, BOTH[prefixes][1])
    for model, seed, name in zip(pair, (1, 2), ("high", "low"), strict=True):
        patched, report = apply_lora(model, both, NAME)
        assert patches(patched) == patches(apply_lora(model, plain(seed), NAME)[0])
        assert report.startswith(f"The LoRA's part for one expert is used: {NAME}, strength 1 (merged).")
        assert f"10 of 20 keys are for the {name}-noise expert and used." in report.splitlines()


def test_adapters_of_peft_name_experts_too(pair, plain):
    both = {}
    for seed, name in ((1, "high_noise"), (2, "low_noise")):
        for key, tensor in plain(seed).items():
            end = {"lora_down.weight": "lora_A", "lora_up.weight": "lora_B"}[".".join(key.rsplit(".", 2)[1:])]
            both[f"{key.rsplit('.', 2)[0]}.{end}.{name}.weight"] = tensor
    for model, seed in zip(pair, (1, 2), strict=True):
        assert patches(apply_lora(model, both, NAME)[0]) == patches(apply_lora(model, plain(seed), NAME)[0])


def test_a_model_quantized_again_is_still_the_expert(pair, part, plain):
    both = part(1, "transformer.") | part(2, "transformer_2.")
    made = quantize_model(pair[1], select_in_model(pair[1], "fp8-channel", "", SchemeChoice()))
    assert patches(apply_lora(made, both, NAME)[0]) == patches(apply_lora(pair[1], plain(2), NAME)[0])


def test_a_file_loaded_by_itself_says_it_by_its_name(files, part, plain):
    both = part(1, "transformer.") | part(2, "transformer_2.")
    low = load_dit(str(files / "wan_low_noise.safetensors"), CHOICE)
    assert patches(apply_lora(low, both, NAME)[0]) == patches(apply_lora(low, plain(2), NAME)[0])


def test_cores_own_loader_says_it_by_the_files_name(original, tmp_path, part, plain):
    import comfy.sd

    path = tmp_path / "wan2.2_t2v_low_noise_14B.safetensors"
    config = {"transformer": {"text_dim": original["text_embedding.0.weight"].shape[1]}}
    safetensors.torch.save_file(original, path, {"config": json.dumps(config)})
    low = comfy.sd.load_diffusion_model(str(path))
    both = part(1, "transformer.") | part(2, "transformer_2.")
    assert patches(apply_lora(low, both, NAME)[0]) == patches(apply_lora(low, plain(2), NAME)[0])


def test_a_model_that_does_not_say_gets_the_part_that_is_asked_for(files, part, plain):
    model = load_dit(str(files / "wan.safetensors"), CHOICE)
    both = part(1, "transformer.") | part(2, "transformer_2.")
    patched, report = apply_lora(model, both, NAME)
    assert patches(patched) == patches(apply_lora(model, plain(1), NAME)[0])
    assert "the model does not say which expert it is. The input expert of Load LoRA (any format) does" in report
    patched, _ = apply_lora(model, both, NAME, expert="low")
    assert patches(patched) == patches(apply_lora(model, plain(2), NAME)[0])


@pytest.mark.parametrize("index,told", [(0, "though the model is the high-noise expert."), (1, "expert and used.")])
def test_the_low_noise_experts_lora_alone_is_used_and_said(index, told, pair, part, plain):
    patched, report = apply_lora(pair[index], part(2, "transformer_2."), NAME)
    assert patches(patched) == patches(apply_lora(pair[index], plain(2), NAME)[0])
    assert report.splitlines()[1].startswith("10 of 10 keys are for the low-noise expert and used")
    assert report.endswith(told)


def test_a_part_that_is_asked_for_and_not_there_is_refused(pair, part):
    with pytest.raises(LoRAError, match=f"^{NAME} has nothing for the high-noise expert, only for the low-noise one"):
        apply_lora(pair[0], part(2, "transformer_2."), NAME, expert="high")


def test_a_file_for_either_is_used_for_both(pair, plain):
    for model in pair:
        for expert in ("auto", "high", "low"):
            _, report = apply_lora(model, plain(1), NAME, expert=expert)
            assert "expert" not in report


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["merge", "bypass"])
def test_both_experts_switched_12_times_leave_the_same_tensors(mode, pair, part, output):
    import gc

    both = part(1, "transformer.") | part(2, "transformer_2.")
    patched = [apply_lora(model, both, NAME, 1.0, mode)[0] for model in pair]
    first = [output(model) for model in patched]
    counts = []
    for _ in range(12):
        for model, wanted in zip(patched, first, strict=True):
            assert torch.equal(output(model), wanted)
        gc.collect()
        counts.append(sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects()))
    # what other tests have left may go in between
    assert counts[1:] == sorted(counts[1:], reverse=True)
