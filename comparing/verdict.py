"""The verdict: how far the candidate is off, and which layers to keep in high precision."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ..common.decibels import SCALE
from ..layer_rules.overrides import KEEP
from .layers import Layer

# worst layers are named until they make up NOISE of the total relative noise, at most MOST of all layers
NOISE, MOST = 0.5, 0.1
# a layer stands out from this many dB below the median
STANDS_OUT = 6.0
# dB from which a difference is no more than the rounding of 16-bit activations
ROUNDING = 55.0
NAMED = 3
# (least PSNR in dB, in words). Lossy compression of pictures and video usually has 30 to 50 dB (Wikipedia, "Peak
# signal-to-noise ratio"). At 40 dB values are off by 1 % of their range on average, at 30 dB by 3 %, at 20 dB by 10 %.
ALIKE = (
    (40.0, "Hardly visible"),
    (30.0, "Visible in details"),
    (20.0, "Clearly visible, the same scene with other details"),
    (-math.inf, "Clearly different"),
)
HOW = (
    "Connect the output layers to layers (optional) of a second Quantize Model, with the 16-bit model as its input. "
    "For x2v-quant convert, put the lines into a file and name it with --layers."
)


@dataclass(frozen=True)
class Verdict:
    """`words`: three lines, what is visible, which layers to keep, and figures. `lines`: rules for Quantize Model's
    input layers, worst layer first. `identical`: all steps, layers and the result are the same bit for bit."""

    words: str
    lines: tuple[str, ...] = ()
    identical: bool = False


def verdict(
    steps: Sequence[float], result: float, psnr: float | None, ssim: float | None, layers: Sequence[Layer]
) -> Verdict:
    """The verdict on the fields of a Report."""
    if not any(steps) and result == 0 and all(layer.noise == 0 for layer in layers):
        return Verdict(
            f"Identical: all {len(steps)} steps, the result and the outputs of {len(layers)} layers are the same, bit "
            "for bit. No layer has to be kept.",
            identical=True,
        )
    kept = worst(layers)
    lines = tuple(f"{layer.name} = {KEEP}" for layer in kept)
    figures = " ".join([*_distance(steps, result), *_share(kept, layers), SCALE])
    return Verdict("\n".join([_visible(steps, result, psnr, ssim), _next(kept, layers), figures]), lines)


def worst(layers: Sequence[Layer]) -> list[Layer]:
    """The layers to keep, worst first: those with the highest noise over signal, limited by NOISE and MOST, without
    those whose difference is mere rounding."""
    ranked = sorted((layer for layer in layers if layer.snr < ROUNDING), key=lambda layer: -layer.share)
    total = sum(layer.share for layer in ranked)
    kept, covered = [], 0.0
    for layer in ranked[: max(1, math.ceil(MOST * len(ranked)))]:
        if covered >= NOISE * total and kept and total < math.inf:
            break
        kept.append(layer)
        covered += layer.share
    return kept


def _visible(steps: Sequence[float], result: float, psnr: float | None, ssim: float | None) -> str:
    wrong = next((step for step, error in enumerate(steps, 1) if not math.isfinite(error)), None)
    if wrong is not None:
        return f"Broken: from step {wrong} on the latents are infinite or not a number."
    if not math.isfinite(result):
        return "Broken: the result is infinite or not a number."
    if psnr is None:
        return f"The result is {result:.2%} off. Connect a VAE to see how much of it is visible."
    if psnr == math.inf:
        return "Not visible: the decoded results are the same, bit for bit."
    if psnr == -math.inf:
        return "Broken: the decoded result is infinite or not a number."
    words = next(words for limit, words in ALIKE if psnr >= limit)
    similarity = "" if ssim is None else f", SSIM {ssim:.4f}"
    return f"{words}: PSNR {psnr:.1f} dB{similarity}."


def _next(kept: Sequence[Layer], layers: Sequence[Layer]) -> str:
    """Which layers to keep, if that helps."""
    if not kept:
        return "No layer differs by more than the rounding of 16 bits: keeping some would gain nothing."
    names = ", ".join(f"{layer.name} ({decibels_text(layer.snr)})" for layer in kept[:NAMED])
    names += f" and {len(kept) - NAMED} more" if len(kept) > NAMED else ""
    median = statistics.median(layer.snr for layer in layers if layer.snr < ROUNDING)
    if kept[0].snr > median - STANDS_OUT:
        return (
            f"No layer is much worse than the others (median {decibels_text(median)}): a more exact format for all "
            f"layers helps more than keeping the worst, {names}. {HOW}"
        )
    return f"Keep in high precision: {names}. {HOW}"


def _distance(steps: Sequence[float], result: float) -> list[str]:
    if not all(map(math.isfinite, (*steps, result))):
        return []
    largest = max(range(len(steps)), key=steps.__getitem__)
    return [
        f"Latents: {result:.2%} off at the end, at most {steps[largest]:.2%} on the way (step {largest + 1} of "
        f"{len(steps)})."
    ]


def _share(kept: Sequence[Layer], layers: Sequence[Layer]) -> list[str]:
    total = sum(layer.share for layer in layers)
    if not kept or total == math.inf:
        return []
    covered = sum(layer.share for layer in kept) / total
    size = sum(math.prod(layer.shape) for layer in kept) / sum(math.prod(layer.shape) for layer in layers)
    named = "The layer to keep makes" if len(kept) == 1 else f"The {len(kept)} layers to keep make"
    return [f"{named} {covered:.0%} of the error of all {len(layers)} layers, with {size:.1%} of their weights."]


def decibels_text(value: float) -> str:
    if value == math.inf:
        return "identical"
    return "not a number" if value == -math.inf else f"{value:.1f} dB"
