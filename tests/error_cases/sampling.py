"""Samplers that are stopped, and schedules and comparisons that cannot be made."""

import torch

from .case import ErrorCase, Prompt, node
from .graphs import INT8, behind, conditions, dense, ours, sampled, settings
from .models import narrow
from .place import Place, demo

PATCH, SIGMAS, COMPARE, SAMPLER = "X2VSamplerPatch", "X2VDistilledSigmas", "X2VCompare", "KSampler"
OFF = {
    "high_first_steps": 0,
    "high_last_steps": 0,
    "high_start_percent": 0.0,
    "high_end_percent": 0.0,
    "high_precision_layers": "",
    "nan_guard": False,
    "step_report": False,
    "shared_activations": False,
    "compile_blocks": False,
}
LAYER = "blocks.1.ffn.2"
NAN = float("nan")
GAVE = "the model gave NaN or infinity;"
KERNEL = "it is planned as int8-channel on reference"


def guarded(make, *words: str) -> ErrorCase:
    """KSampler stopped by the NaN guard. make: place -> (prompt, changes of sampled)."""

    def prompt(place: Place) -> Prompt:
        made, changes = make(place)
        made = {"patch": node(PATCH, model=["model", 0], **{**OFF, "nan_guard": True}), **made}
        return sampled(made, **{"model": "patch", **changes})

    return ErrorCase(SAMPLER, prompt, ("Step 1 of 2 (sigma 1)", GAVE, *words))


def spoilt(change):
    """A graph with the demo's int8 model after `change`."""
    return lambda place: (ours(place.put("diffusion_models", "model.safetensors", demo("t2v", change))), {})


def bias(tensors) -> None:
    tensors[f"{LAYER}.bias"][3] = NAN


def scale(tensors) -> None:
    tensors[f"{LAYER}.weight_scale"][::3] = 1e36  # of all rows it would be a reciprocal


def modulation(tensors) -> None:
    tensors["blocks.0.modulation"].fill_(NAN)


def norm(tensors) -> None:
    tensors["norm.weight"][0] = NAN


def latent(place: Place):
    name = place.input(
        f"{place.name}.latent",
        {"latent_tensor": torch.full((1, 16, 2, 4, 4), NAN), "latent_format_version_0": torch.zeros(1)},
    )
    return {**ours(), "nan": node("LoadLatent", latent=name)}, {"latent_image": ["nan", 0]}


def conditioning(place: Place):
    return ours(), {"encoder": place.put("text_encoders", "model.pth", demo("t5", norm))}


def guidance(place: Place):
    """An operation on latents that divides by zero."""
    return {
        **ours(),
        "patched": node(PATCH, model=["model", 0], **{**OFF, "nan_guard": True}),
        "tone map": node("LatentOperationTonemapReinhard", multiplier=0.0),
        "patch": node("LatentApplyOperationCFG", model=["patched", 0], operation=["tone map", 0]),
    }, {}


def patched(prompt: Prompt, *words: str, **inputs) -> ErrorCase:
    return ErrorCase(PATCH, lambda place: behind(prompt, PATCH, **{**OFF, **inputs}), words)


def distilled(*words: str, **inputs) -> ErrorCase:
    given = {"denoising_step_list": "1000, 750, 500, 250", "shift": 5.0, "boundary_step_index": 2, **inputs}
    prompt = {"sigmas": node(SIGMAS, **given), "report": node("PreviewAny", source=["sigmas", 0])}
    return ErrorCase(SIGMAS, lambda place: prompt, words)


def compared(candidate: dict, *words: str, **changes) -> ErrorCase:
    """Compare Models with the unquantized model as the reference and the node `candidate`."""

    def make(place: Place) -> Prompt:
        given = settings(reference=["model", 0], candidate=["candidate", 0], **changes)
        found = candidate(place) if callable(candidate) else candidate
        return {**conditions(), **dense(), "candidate": found, "compare": node(COMPARE, **given)}

    return ErrorCase(COMPARE, make, words)


def narrower(place: Place) -> dict:
    """The same layers, of which the feed-forward is half as wide."""
    name = place.put("diffusion_models", "narrow.safetensors", demo("t2v", narrow(256), "bf16"))
    return node("UNETLoader", unet_name=name, weight_dtype="default")


def scheduled(place: Place) -> Prompt:
    """A LoRA that ComfyUI switches on and off with the conditioning."""
    tensors = {
        "diffusion_model.blocks.0.ffn.0.lora_down.weight": torch.ones(4, 128),
        "diffusion_model.blocks.0.ffn.0.lora_up.weight": torch.ones(512, 4),
    }
    name = place.put("loras", "lora.safetensors", tensors)
    made = {
        **ours(),
        "hook": node("CreateHookLoraModelOnly", lora_name=name, strength_model=1.0),
        "hooked": node(
            "ConditioningSetProperties",
            cond_NEW=["positive", 0],
            strength=1.0,
            set_cond_area="default",
            hooks=["hook", 0],
        ),
    }
    return sampled(made, positive=["hooked", 0])


SAME = "Connect two forms of the same model."
CASES = {
    "weight": guarded(
        spoilt(bias),
        f"weights of layer {LAYER} contain NaN or infinity. In model.safetensors {KERNEL}. Check the",
    ),
    "layer": guarded(
        spoilt(scale),
        f"layer {LAYER} is the first whose output contains NaN or infinity; its input is at most",
        "in float32. In model.safetensors",
        f"Write {LAYER} into layers in high precision (high_precision_layers) of Quantized Sampler Patch, or "
        "pick scheme dequant",
    ),
    "between layers": guarded(
        spoilt(modulation),
        "the input of layer blocks.0.self_attn.",
        "is the first that contains NaN or infinity, after",
        "It arises in attention, norms or a patch between layers",
    ),
    "latent": guarded(latent, "the latent that came in contains NaN or infinity already. Look at what the sampler"),
    "conditioning": guarded(
        conditioning, "the conditioning that came in contains NaN or infinity already. Look at the text encoder"
    ),
    "guidance": guarded(
        guidance, "every layer gives numbers when it is computed again. It arises in guidance or in compiled"
    ),
    "schedule of nothing": patched(
        dense(),
        "The model has no layer that this pack has quantized, so there is no precision to schedule. Load it with",
        "or put Quantize Model after its loader.",
        high_first_steps=1,
    ),
    "schedule of a layer": patched(
        ours(),
        "No quantized layer is called 'blocks.1.fnn.2'. Write names as the model has them, for instance: ",
        high_precision_layers="blocks.1.fnn.2",
    ),
    "schedule of a format": patched(ours(), "Line 1 of the layer rules", high_precision_layers="ffn = int8"),
    "steps": distilled(
        "The step list (denoising_step_list) is '1000, 1500'. Write falling whole numbers between 1000 and 1, for ",
        denoising_step_list="1000, 1500",
    ),
    "boundary": distilled(
        "There are 5 high-noise steps (boundary_step_index), but the step list has 4. Give a number from 1 to 4. ",
        "For none, connect the output sigmas to the sampler of the low-noise expert alone.",
        boundary_step_index=5,
    ),
    "scheduled LoRA": ErrorCase(
        SAMPLER,
        scheduled,
        (
            "A scheduled LoRA (hook) cannot patch quantized weights: restoring them would lose their scales. Use",
            "LoraLoaderBypassModelOnly, or LoraLoaderModelOnly without a schedule.",
        ),
    ),
    "another model": compared(
        node("X2VLoadDiT", model_name=INT8.i2v),
        "The models do not match: the reference has no layer ",
        SAME,
    ),
    "another size": compared(
        narrower,
        "The models do not match: layer blocks.0.ffn.0 is 512 x 128 in the reference and 256 x 128 in the candidate.",
        SAME,
    ),
    "another shift": compared(
        node("ModelSamplingSD3", model=["model", 0], shift=3.0),
        "The models do not match: they are sampled at different noise levels. Put the same ModelSampling node with the",
        "same shift after both.",
    ),
    "noise levels": compared(
        node("ModelSamplingSD3", model=["model", 0], shift=0.0),
        "The candidate has noise levels that are not numbers: give it another shift, or pick another scheduler",
    ),
    "steps as it likes": compared(
        node("X2VQuantizeModel", model=["model", 0], format="int8-channel"),
        "Sampler dpm_adaptive chooses its own number of steps for each model. Pick another sampler.",
        sampler_name="dpm_adaptive",
    ),
    "no step": compared(
        node("X2VQuantizeModel", model=["model", 0], format="int8-channel"),
        "There is nothing to sample: raise steps or denoise.",
        denoise=0.0,
    ),
}
