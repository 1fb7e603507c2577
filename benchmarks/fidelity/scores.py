"""What a contestant sampled, as figures."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...common.decibels import decibels
from ...comparing.metrics import psnr, relative_error, ssim
from ...demo.reading import read
from .cases import Case

ASPECTS = ("colour", "shape", "direction")
ALL = "all"


@dataclass(frozen=True)
class Sampled:
    """latents [cases, 16, frames, height, width]; videos [cases, frames, height, width, 3] in 0 to 1; `text`: encoded
    prompts by name."""

    latents: torch.Tensor
    videos: torch.Tensor
    text: dict[str, torch.Tensor]


def score(cases: Sequence[Case], true: Sampled, got: Sampled) -> dict:
    """{"latent_error", "psnr", "ssim"}: means over the cases of the distance to `true`; {"text_error"}: the same over
    the prompts; {"accuracy", "accuracy_held_out"}: share of the videos whose colour, shape, direction and all three
    are what the prompt says, None without such cases."""
    pairs = list(zip(true.videos, got.videos, strict=True))
    right = [read(video).matches(case.scene) for case, video in zip(cases, got.videos, strict=True)]
    return {
        "latent_error": statistics.mean(map(relative_error, true.latents, got.latents)),
        "text_error": statistics.mean(relative_error(true.text[name], got.text[name]) for name in true.text),
        "psnr": statistics.mean(psnr(*pair) for pair in pairs),
        "ssim": statistics.mean(ssim(*pair) for pair in pairs),
        "accuracy": accuracy(right),
        "accuracy_held_out": accuracy([found for found, case in zip(right, cases, strict=True) if case.held_out]),
    }


def accuracy(right: Sequence[dict[str, bool]]) -> dict[str, float] | None:
    """Shares of 0 to 1 by aspect, and of the videos that are right in every one; None of nothing."""
    if not right:
        return None
    shares = {aspect: statistics.mean(found[aspect] for found in right) for aspect in ASPECTS}
    return {**shares, ALL: statistics.mean(all(found.values()) for found in right)}


def summary(layers: dict[str, dict]) -> dict:
    """Of layers.compare's figures: {"weight_snr": of all weights together, "weight_worst", "output_median",
    "output_worst": in dB, "worst_layer": whose output is the worst}."""
    signal, noise = (sum(layer[f"weight_{part}"] for layer in layers.values()) for part in ("signal", "noise"))
    worst = min(layers, key=lambda name: layers[name]["output_snr"])
    return {
        "weight_snr": decibels(signal, noise),
        "weight_worst": min(layer["weight_snr"] for layer in layers.values()),
        "output_median": statistics.median(layer["output_snr"] for layer in layers.values()),
        "output_worst": layers[worst]["output_snr"],
        "worst_layer": worst,
    }
