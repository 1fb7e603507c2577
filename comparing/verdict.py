"""The verdict: how far the candidate is off, and which layers to keep in high precision."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ..layer_rules.overrides import KEEP
from .layers import Layer

# worst layers are named until they make up NOISE of the total relative noise, at most MOST of all layers
NOISE, MOST = 0.5, 0.1
# a layer stands out from so many dB below the median
STANDS_OUT = 6.0
# dB from which a difference is no more than the rounding of 16-bit activations
ROUNDING = 55.0
NAMED = 3
# (least PSNR in dB, how similar the decoded results are)
ALIKE = (
    (40.0, "hardly to be told apart"),
    (30.0, "alike, with differences that show side by side"),
    (20.0, "the same scene with other details"),
    (-math.inf, "different pictures"),
)
HOW = (
    "Put the lines into the layers input of Quantize Model behind the unquantized model, or into a file for "
    "x2v-quant convert --layers."
)


@dataclass(frozen=True)
class Verdict:
    """`words`: a few sentences. `lines`: rules for Quantize Model's input layers, worst layer first. `identical`: all
    steps, layers and the result are the same bit for bit."""

    words: str
    lines: tuple[str, ...] = ()
    identical: bool = False


def verdict(
    steps: Sequence[float], result: float, psnr: float | None, ssim: float | None, layers: Sequence[Layer]
) -> Verdict:
    """The verdict on the fields of a Report."""
    if not any(steps) and result == 0 and all(layer.noise == 0 for layer in layers):
        return Verdict(
            f"The two models are identical here: all {len(steps)} steps, the result and the outputs of "
            f"{len(layers)} layers are the same bit for bit. No layer has to be kept.",
            identical=True,
        )
    kept = worst(layers)
    lines = tuple(f"{layer.name} = {KEEP}" for layer in kept)
    return Verdict(" ".join([*_distance(steps, result), *_picture(psnr, ssim), *_layers(kept, layers)]), lines)


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


def _distance(steps: Sequence[float], result: float) -> list[str]:
    wrong = next((step for step, error in enumerate(steps, 1) if not math.isfinite(error)), None)
    if wrong is not None:
        return [f"From step {wrong} on the latents are infinite or not a number."]
    if not math.isfinite(result):
        return ["The result is infinite or not a number."]
    largest = max(range(len(steps)), key=steps.__getitem__)
    return [
        f"The result is {result:.2%} off (|difference| / |latent|).",
        f"On the way the predicted latent is furthest off at step {largest + 1} of {len(steps)}, by "
        f"{steps[largest]:.2%}.",
    ]


def _picture(psnr: float | None, ssim: float | None) -> list[str]:
    if psnr is None:
        return []
    if psnr == math.inf:
        return ["The decoded results are the same, bit for bit."]
    if psnr == -math.inf:
        return ["The decoded result is infinite or not a number."]
    words = next(words for limit, words in ALIKE if psnr >= limit)
    similarity = "" if ssim is None else f", SSIM {ssim:.4f}"
    return [f"The decoded results are {words}: PSNR {psnr:.1f} dB{similarity}."]


def _layers(kept: Sequence[Layer], layers: Sequence[Layer]) -> list[str]:
    if not kept:
        return ["No layer differs by more than the rounding of 16-bit activations: keeping some would gain nothing."]
    names = ", ".join(f"{layer.name} ({decibels_text(layer.snr)})" for layer in kept[:NAMED])
    names += f" and {len(kept) - NAMED} more" if len(kept) > NAMED else ""
    median = statistics.median(layer.snr for layer in layers if layer.snr < ROUNDING)
    if kept[0].snr > median - STANDS_OUT:
        words = [
            f"No layer stands out from the median of {decibels_text(median)}: a more exact format for all layers helps "
            f"more than keeping the worst, {names}."
        ]
    else:
        words = [f"Keep in high precision: {names}."]
    total = sum(layer.share for layer in layers)
    if total < math.inf:
        covered = sum(layer.share for layer in kept) / total
        size = sum(math.prod(layer.shape) for layer in kept) / sum(math.prod(layer.shape) for layer in layers)
        carries, holds = ("It carries", "holds") if len(kept) == 1 else ("They carry", "hold")
        words.append(
            f"{carries} {covered:.0%} of the relative noise of all {len(layers)} layers and {holds} {size:.1%} of "
            "their weights."
        )
    return [*words, HOW]


def decibels_text(value: float) -> str:
    if value == math.inf:
        return "identical"
    return "not a number" if value == -math.inf else f"{value:.1f} dB"
