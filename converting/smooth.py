"""Which layers of a conversion are smoothed, by which factors, and how LightX2V's files say so."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch

from ..calibration import Calibration, smooth_layers
from ..calibration.strength import SMOOTHING
from ..checkpoints.encodings import COMFYUI, LIGHTX2V
from ..checkpoints.encodings.smooth import WITH_AFFINE_NORM
from .errors import ConvertError
from .units import Spec, Unit

Factors = dict[str, torch.Tensor]

BLOCK = "blocks."
# norm -> the layers that it feeds, under Wan's own names
WAN_FEEDS = {"affine_norm1": ("self_attn.q", "self_attn.k", "self_attn.v"), "affine_norm3": ("ffn.0",)}
NEEDS_CONFIG = 'LightX2V wants "quant_method": "advanced_ptq" in the config of a smoothed model'


def factors(
    calibration: Calibration,
    formats: Mapping[str, str],
    weight_of: Callable[[str], torch.Tensor],
    dialect: str,
    alpha: float | None,
    progress: Callable[[str], None] = lambda layer: None,
    formula: str = SMOOTHING,
) -> Factors:
    """Layer -> the pre_quant_scale [K] that its columns are divided by, for those that are better off with one.

    formats: layer -> format; weight_of: layer -> float32 [N, K]. progress(layer) after each that can be smoothed.
    formula: of calibration.strength.FORMULAS.
    Raises ConvertError for a dialect that has no place for factors, CalibrationError for a calibration that cannot be
    used.
    """
    if dialect == COMFYUI:
        raise ConvertError("ComfyUI's dialect has no place for smoothing: choose the dialect x2v or lightx2v.")
    groups = [group for group in behind_norms(formats) if _is_smoothable({formats[layer] for layer in group})]
    if dialect == LIGHTX2V:
        formats = {layer: formats[layer] for group in groups for layer in group}
    found = smooth_layers(calibration, formats, weight_of, alpha, dialect == LIGHTX2V, progress, formula)
    chosen = {layer: entry.pre_quant_scale for layer, entry in found.items() if entry.pre_quant_scale is not None}
    if dialect == LIGHTX2V:
        # one factor stands for all layers behind a norm
        whole = [group for group in groups if len({id(chosen.get(layer)) for layer in group}) == 1]
        chosen = {layer: chosen[layer] for group in whole for layer in group if layer in chosen}
    return {layer: factor.cpu() for layer, factor in chosen.items()}


def behind_norms(layers: Iterable[str]) -> list[list[str]]:
    """The layers behind each of Wan's norms, where all of them are among `layers`."""
    known = dict.fromkeys(layers)
    groups = [[f"{block}.{end}" for end in ends] for block in _blocks(known) for ends in WAN_FEEDS.values()]
    return [group for group in groups if known.keys() >= set(group)]


def norm_units(
    chosen: Factors, shapes: Mapping[str, tuple[int, int]], formats: Mapping[str, str], dtype: torch.dtype
) -> list[Unit]:
    """LightX2V's affine_norms of every block, ones where nothing is smoothed; none at all if that is everywhere, nor
    before a layer whose format is never smoothed: LightX2V has one format for all, other readers refuse the two.

    shapes: layer -> (N, K), kept ones too; formats: of the quantized ones; dtype: of the vectors. Factors are bfloat16
    numbers.
    """
    if not chosen:
        return []
    units = []
    for block in _blocks(shapes):
        for norm, ends in WAN_FEEDS.items():
            if (
                not {formats[layer] for end in ends if (layer := f"{block}.{end}") in formats}
                <= WITH_AFFINE_NORM.keys()
            ):
                continue
            first = f"{block}.{ends[0]}"
            factor = chosen.get(first, torch.ones(shapes[first][1])).to(dtype)
            units.append(_unit(f"{block}.{norm}", factor))
    return units


def _unit(name: str, factor: torch.Tensor) -> Unit:
    ends = (f"{name}.weight", f"{name}.bias")

    def parts() -> Iterator[tuple[str, torch.Tensor]]:
        yield from ((end, factor) for end in ends)

    return Unit(name, dict.fromkeys(ends, Spec.of(factor)), parts)


def _blocks(layers: Iterable[str]) -> list[str]:
    """Wan's blocks: "blocks.0", ..."""
    return list(dict.fromkeys(".".join(layer.split(".")[:2]) for layer in layers if layer.startswith(BLOCK)))


def _is_smoothable(formats: set[str]) -> bool:
    return len(formats) == 1 and formats <= WITH_AFFINE_NORM.keys()
