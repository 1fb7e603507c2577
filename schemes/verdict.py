"""A plan's verdict: one line on whether the model is fast here, and what to do if it is not."""

from ..formats import family
from ..kernels import FAST, TESTS, ever_fast, outlook
from . import AUTO
from .plan import TRANSCODE, LayerPlan, Plan

NOTHING = "Nothing to install."
# components that run once per prompt or picture, while the diffusion model runs in every step
ONCE = {"t5": "A text encoder runs only once per prompt.", "clip": "CLIP runs only once per picture."}


def verdict(plan: Plan) -> str:
    """Like "int8, fast here. Nothing to install." Fast: layers multiply quantized values. Nothing is timed."""
    layers = list(plan.layers.values())
    if not layers:
        return "not quantized."
    fast = sum(layer.choice.kernel.good_for == FAST for layer in layers)
    if fast:
        share = "" if fast == len(layers) else f" in {fast} of {len(layers)} layers"
        fast_here, tested = ("should be fast here", " (not tested on AMD)") if plan.machine.amd else ("fast here", "")
        return f"{_formats(plan)}, {fast_here}{share}{tested}. {NOTHING}"
    if any(layer.choice.kernel.good_for == TESTS for layer in layers):
        return f"{_formats(plan)}, slow: the scheme {plan.scheme.name} is for tests. Set it to auto."
    words = [f"{_formats(plan)}, saves memory only on {plan.machine.name}.", ONCE.get(plan.component)]
    return " ".join(filter(None, [*words, _remedy(plan, layers[0])]))


def short(format_name: str) -> str:
    """What users call a format: "int8-channel" -> "int8"."""
    return format_name.partition("-")[0]


def _formats(plan: Plan) -> str:
    """ "int8", "fp8 and int4", or "fp8 loaded as int8"; the format of most layers first."""
    groups = plan.summary()
    stored = " and ".join(dict.fromkeys(short(group["held"]) for group in groups))
    loaded = " and ".join(dict.fromkeys(short(group["format"]) for group in groups))
    return stored if stored == loaded else f"{stored} loaded as {loaded}"


def _remedy(plan: Plan, layer: LayerPlan) -> str:
    best = outlook(family(layer.choice.format), plan.machine, dtype=plan.compute_dtype)
    if best.fast and plan.scheme.name != AUTO:
        return "Set the scheme to auto, which should be fast here."
    if best.install:
        return f"To make it fast: {best.install}."
    if plan.advice():
        return f"Pick the int8 file, or {TRANSCODE}."
    if not ever_fast(layer.choice.format):
        return f"{NOTHING} This format is small, not fast, on every machine."
    return f"{NOTHING} Reason: {best.reason}." if best.reason else NOTHING
