"""Which layers of a conversion are smoothed, by which factors, and how LightX2V's files say so."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch

from ..calibrating import Calibration
from ..formats import SMOOTHED
from ..smoothing import smooth_layers
from .errors import ConvertError
from .outputs import COMFYUI, LIGHTX2V
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
) -> Factors:
    """Layer -> the pre_quant_scale [K] that its columns are divided by, for those that are better off with one.

    formats: layer -> format; weight_of: layer -> float32 [N, K]. Raises ConvertError for a dialect that has no place
    for factors, CalibrationError for a calibration that cannot be used.
    """
    if dialect == COMFYUI:
        raise ConvertError("ComfyUI's dialect has no place for smoothing: choose the dialect x2v or lightx2v.")
    behind_norms = _groups(formats)
    if dialect == LIGHTX2V:
        formats = {layer: formats[layer] for group in behind_norms for layer in group}
    found = smooth_layers(calibration, formats, weight_of, alpha, shared=dialect == LIGHTX2V)
    chosen = {layer: entry.pre_quant_scale for layer, entry in found.items() if entry.pre_quant_scale is not None}
    if dialect == LIGHTX2V:
        # one factor stands for all layers behind a norm
        whole = [group for group in behind_norms if len({id(chosen.get(layer)) for layer in group}) == 1]
        chosen = {layer: chosen[layer] for group in whole for layer in group if layer in chosen}
    return {layer: factor.cpu() for layer, factor in chosen.items()}


def norm_units(chosen: Factors, shapes: Mapping[str, tuple[int, int]], dtype: torch.dtype) -> list[Unit]:
    """LightX2V's affine_norms of every block, ones where nothing is smoothed; none at all if that is everywhere.

    shapes: layer -> (N, K), kept ones too; dtype: of the vectors. Factors are bfloat16 numbers.
    """
    if not chosen:
        return []
    units = []
    for block in _blocks(shapes):
        for norm, ends in WAN_FEEDS.items():
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
    first = WAN_FEEDS["affine_norm1"][0]
    return [layer.removesuffix(f".{first}") for layer in layers if layer.startswith(BLOCK) and layer.endswith(first)]


def _groups(formats: Mapping[str, str]) -> list[list[str]]:
    """The layers behind each norm, where all of them can be smoothed and are of one format."""
    found = []
    for block in _blocks(formats):
        for ends in WAN_FEEDS.values():
            layers = [f"{block}.{end}" for end in ends]
            kinds = {formats.get(layer) for layer in layers}
            if len(kinds) == 1 and kinds <= SMOOTHED.keys():
                found.append(layers)
    return found
