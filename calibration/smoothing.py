"""Finds the smoothing of all layers of a model, from a calibration."""

from collections.abc import Callable, Mapping

import torch

from .calibration import Calibration
from .strength import FORMULAS, SMOOTHING, Smoothing, find_smoothing


def smooth_layers(
    calibration: Calibration,
    layers: Mapping[str, str],
    weight_of: Callable[[str], torch.Tensor],
    alpha: float | None = None,
    shared: bool = False,
    progress: Callable[[str], None] = lambda layer: None,
    formula: str = SMOOTHING,
) -> dict[str, Smoothing]:
    """Layer -> its smoothing, for the layers that the calibration has seen and whose format the formula is for.

    layers: name -> format. weight_of: layer -> float weight [N, K]; only the weights of layers with one input are in
    memory at a time. alpha: None searches the best for each layer; a fixed one (DEFAULT_ALPHA in the recipes) suits
    outliers that meet small weights. shared: layers with the same input share a factor, as LightX2V's files need it
    for q, k and v. progress(layer) is called after each. formula: of strength.FORMULAS.

    Raises CalibrationError for a calibration that is empty, of another model or not finite.
    """
    calibration.check()
    wanted = [name for name, format_name in layers.items() if format_name in FORMULAS[formula].formats]
    seen = calibration.known(wanted)
    found: dict[str, Smoothing] = {}
    for names in groups(calibration, {name: layers[name] for name in seen}) if shared else [[name] for name in seen]:
        weights = [weight_of(name) for name in names]
        maxima = calibration.maxima[names[0]]
        for name, weight in zip(names, weights, strict=True):
            calibration.check_channels(name, weight.shape[1])
        deviations = calibration.deviations(names[0])
        alphas = FORMULAS[formula].alphas if alpha is None else (alpha,)
        smoothing = find_smoothing(weights, maxima, deviations, layers[names[0]], alphas, formula)
        for name in names:
            found[name] = smoothing
            progress(name)
    return found


def groups(calibration: Calibration, layers: Mapping[str, str]) -> list[list[str]]:
    """Layer names grouped by input: layers of one parent module and one format with identical maxima. layers: name ->
    format."""
    together: dict[tuple, list[str]] = {}
    for name, format_name in layers.items():
        maxima = calibration.maxima[name].to("cpu", torch.float32)
        key = (name.rpartition(".")[0], format_name, maxima.numpy().tobytes())
        together.setdefault(key, []).append(name)
    return list(together.values())
