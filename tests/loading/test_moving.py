"""Models that core moves between two devices, wholly, in part and back, each step in one of torch's three modes.

A CPU has one device, but a tensor that is asked to be on `cpu:0` is copied, as one that goes to a GPU or comes back is.
What is computed is computed inside, as the executor does.
"""

import contextlib
import copy
import functools
import random

import comfy.model_management
import comfy.sd
import pytest
import torch
from comfy.weight_adapter.lora import LoRAAdapter
from small_wan import KINDS

from x2v_quant import formats
from x2v_quant.calibration.recorder import calibrated
from x2v_quant.core.features import rotates_int8
from x2v_quant.loading.clip_vision import load_clip_vision
from x2v_quant.loading.dit import load_dit
from x2v_quant.loading.t5 import load_t5
from x2v_quant.loras import apply_lora
from x2v_quant.quantizing import quantize_clip, quantize_model, select_in_clip, select_in_model
from x2v_quant.runtime.offload import OffloadSettings
from x2v_quant.runtime.offload.apply import attach, install, offloaded, streamed_blocks
from x2v_quant.runtime.offload.wrappers import Streaming
from x2v_quant.runtime.sampling import PrecisionSchedule, patched
from x2v_quant.runtime.sharing import shared_activations
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.slow

ELSEWHERE = torch.device("cpu:0")
MODES = (torch.inference_mode, torch.no_grad, contextlib.nullcontext)
# smoothed ones whose rotation divides the widths of the small model
FITTING = [name for name in formats.SMOOTHED.values() if formats.FORMATS[name].rotation <= 256]
FORMATS = [*KINDS, "w4a8", *(["int8-convrot"] if rotates_int8() else []), *FITTING]
FLOAT32 = SchemeChoice(compute_dtype="fp32")
every_format = pytest.mark.parametrize("format_name", FORMATS)
# a file whose layers are all so narrow could as well be mxfp8
every_kind = pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind != "mxfp6"])


@pytest.fixture(autouse=True)
def copies(monkeypatch):
    """What core casts to the device that computes is never the tensor that waits elsewhere."""
    cast = comfy.model_management.cast_to

    def cast_to(weight, *args, **kwargs):
        made = cast(weight, *args, **kwargs)
        return made.clone() if made is weight else made

    monkeypatch.setattr(comfy.model_management, "cast_to", cast_to)


@pytest.fixture(autouse=True)
def no_others():
    """Models that other tests keep stay where they are: core's own do not take a move outside of inference mode."""
    comfy.model_management.unload_all_models()
    assert not loaded_models()


def loaded_models():
    return [entry for entry in comfy.model_management.current_loaded_models if entry.model is not None]


def leave(share=None):
    """Core's unload_all_models, which does not know the other device; with a share of it those bytes only."""
    for entry in loaded_models():
        there = entry.model.model
        nbytes = None if share is None else int(entry.model_loaded_memory() * share)
        if entry.model_unload(nbytes):
            comfy.model_management.current_loaded_models.remove(entry)
        if share is None:
            there.to(ELSEWHERE)


def walk(drawn, models, compute, steps):
    """The same results in any order, whatever leaves the device before and in whichever mode."""
    with torch.inference_mode():
        first = {name: compute(model) for name, model in models.items()}
    done = []
    for _ in range(steps):
        name, mode = drawn.choice(list(models)), drawn.choice(MODES)
        share = drawn.choice((None, None, 0.5, 0.0))
        done.append((mode.__name__, share, name))
        with mode():
            leave(share)
        with torch.inference_mode():
            assert torch.equal(compute(models[name]), first[name]), done
    return first


def streamed(model, mode):
    """As on a GPU without dynamic VRAM, with everything away."""
    settings, clone = OffloadSettings(mode), model.clone()
    find = functools.partial(streamed_blocks, settings)
    attach(clone, settings, find(clone.model.diffusion_model), [])
    install(clone, Streaming(settings, find, lambda parameter, device: True))
    return clone


def requantized(model, format_name="int8-channel"):
    return quantize_model(model, select_in_model(model, format_name, "", FLOAT32), FLOAT32)


def merged_with(model, other):
    """As ModelMergeSimple."""
    made = model.clone()
    for name, patch in other.get_key_patches("diffusion_model.").items():
        made.add_patches({name: patch}, 0.5, 0.5)
    return made


@every_format
def test_latents(format_name, wan_files, sample, lora):
    drawn = random.Random(format_name)
    with drawn.choice(MODES)():
        plain = load_dit(wan_files[format_name][1])
        plain.load_device = ELSEWHERE
        in_weights = comfy.sd.load_lora_for_models(plain, None, lora(), 1.0, 0)[0]
        models = {
            "plain": plain,
            "LoRA in the weights": in_weights,
            "LoRAs beside the weights": apply_lora(
                comfy.sd.load_bypass_lora_for_models(plain, None, lora(), 1.0, 0)[0], lora(), "a file", 0.5, "bypass"
            )[0],
            "high precision": patched(plain, PrecisionSchedule(first=1), nan_guard=True),
            "shared and calibrated": calibrated(shared_activations(plain)[0])[0],
            "there while it samples": offloaded(plain, OffloadSettings("model")),
            "block": streamed(plain, "block"),
            "phase, LoRA in the weights": streamed(in_weights, "phase"),
            "disk": streamed(plain, "disk"),
            "merged": merged_with(plain, in_weights),
            "quantized again": requantized(plain, "fp8-channel"),
            "LoRA baked in": requantized(in_weights),
            "LoRA on what was quantized": comfy.sd.load_lora_for_models(requantized(plain), None, lora(), 1.0, 0)[0],
        }
    walk(drawn, models, lambda model: sample(model, steps=1), steps=16)


def with_lora(encoder, made, ends):
    """`made`, a copy of the encoder, with a LoRA on the layers with these endings."""
    generator = torch.Generator().manual_seed(1)
    patches = {}
    for name, weight in encoder.patcher.model.named_parameters():
        if name.endswith(ends):
            up, down = (torch.randn(shape, generator=generator) for shape in ((len(weight), 4), (4, weight.shape[1])))
            patches[name] = LoRAAdapter({name}, (up, down / weight.shape[1] ** 0.5, 4.0, None, None, None))
    made.patcher = encoder.patcher.clone()
    assert patches and len(made.patcher.add_patches(patches, 1.0)) == len(patches)
    return made


@every_kind
def test_prompts(kind, encoder_files):
    drawn = random.Random(kind)
    with drawn.choice(MODES)():
        plain = load_t5(str(encoder_files / f"t5-{kind}.pth"))
        plain.patcher.load_device = ELSEWHERE
        again = quantize_clip(plain, select_in_clip(plain, "fp8-channel", "", FLOAT32), FLOAT32)
        ends = ("SelfAttention.q.weight", "wo.weight")
        models = {"plain": plain, "LoRA": with_lora(plain, plain.clone(), ends), "again": again}
        models["LoRA on it"] = with_lora(again, again.clone(), ends)
    first = walk(drawn, models, lambda clip: clip.encode_from_tokens(clip.tokenize("a small red fox")), steps=10)
    assert not torch.equal(first["plain"], first["LoRA"])


@every_kind
def test_pictures(kind, encoder_files):
    picture = torch.rand((1, 32, 32, 3), generator=torch.Generator().manual_seed(2))
    for mode in MODES:
        with mode():
            plain = load_clip_vision(str(encoder_files / f"clip-{kind}.pth"))
            plain.load_device = plain.patcher.load_device = ELSEWHERE
            lora = with_lora(plain, copy.copy(plain), ("self_attn.q_proj.weight", "mlp.fc2.weight"))
        models = {"plain": plain, "LoRA": lora}
        walk(random.Random(kind), models, lambda clip: clip.encode_image(picture)["penultimate_hidden_states"], steps=6)
