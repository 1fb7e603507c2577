"""The NaN guard's message: which step and layer, how it was computed, and what to try."""

import torch

from .nan_search import BETWEEN, CONDITIONING, ELSEWHERE, LATENT, LAYER, WEIGHT, Culprit
from .run import SamplerRun

# inputs from this magnitude on may leave float16's range (65504) in a layer
NEAR_FP16 = 1e4

WHERE = {
    LATENT: "the latent that came in contains NaN or infinity already",
    CONDITIONING: "the conditioning that came in contains NaN or infinity already",
    WEIGHT: "weights of layer {layer} contain NaN or infinity",
    LAYER: "layer {layer} is the first whose output contains NaN or infinity; its input is at most {largest:.3g} in "
    "{dtype}",
    BETWEEN: "the input of layer {layer} is the first that contains NaN or infinity, {behind}",
    ELSEWHERE: "every layer gives numbers when it is computed again",
}
SET_DTYPE = "set precision while computing (compute_dtype) of Quantization Scheme to bf16 or fp32"
TRY = {
    LATENT: "Look at what the sampler begins with (another sampler's latent, a VAE in fp16), or at the sampler_name if "
    "this is a later step.",
    CONDITIONING: f"Look at the text encoder: {SET_DTYPE}, or its scheme to dequant; and at the images that were "
    "encoded.",
    WEIGHT: "Check the file with 'x2v-quant inspect' and download it again; take LoRAs off, or lower their strength.",
    BETWEEN: f"It arises in attention, norms or a patch between layers: {SET_DTYPE}, or take off patches of attention.",
    ELSEWHERE: "It arises in guidance or in compiled code: lower cfg, or take off torch.compile and other patches.",
}
QUANTIZED = (
    "Write {layer} into layers in high precision (high_precision_layers) of Quantized Sampler Patch, or pick scheme "
    "dequant"
)
PLAIN = f"Lower the strength of LoRAs, or {SET_DTYPE}"


def sentence(culprit: Culprit, run: SamplerRun, sigma: float) -> str:
    """The message of a NonFiniteError. sigma: noise level of the step."""
    where = WHERE[culprit.kind].format(
        layer=culprit.layer,
        largest=culprit.largest,
        dtype=_name(culprit.dtype),
        behind=f"after {culprit.before}" if culprit.before else "before any other layer",
    )
    step = f"Step {run.step_at(sigma) + 1} of {run.steps} (sigma {sigma:.4g})"
    words = [f"{step}: the model gave NaN or infinity; {where}.", _how(culprit), _advice(culprit)]
    return " ".join(word for word in words if word)


def _how(culprit: Culprit) -> str:
    """The layer's entry in the plan: format, kernel, and why the first better kernel was passed over."""
    if not culprit.layer:
        return ""
    if culprit.kernel is None:
        return "It is not quantized."
    choice = culprit.plan.layers[culprit.layer].choice
    words = f"In {culprit.plan.title} it is planned as {choice.format} on {choice.kernel.name}"
    if culprit.kernel != choice.kernel.name:
        words += f", in this step by {culprit.kernel}"
    for name, reason in list(choice.passed_over.items())[:1]:
        words += f" (not {name}: {reason})"
    return f"{words}."


def _advice(culprit: Culprit) -> str:
    if culprit.kind != LAYER:
        return TRY[culprit.kind]
    overflows = culprit.dtype == torch.float16 or culprit.largest >= NEAR_FP16
    if culprit.kernel is None:
        return f"{PLAIN}."
    return (
        f"{QUANTIZED.format(layer=culprit.layer)}, or take bypass LoRAs off{f'; or {SET_DTYPE}' if overflows else ''}."
    )


def _name(dtype: torch.dtype | None) -> str:
    return str(dtype).removeprefix("torch.")
