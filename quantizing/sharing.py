"""Smoothing as LightX2V's files store it: one factor for all layers behind a norm, none for other layers."""

from collections.abc import Mapping

import comfy.lora
import comfy.model_management
import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..calibration import Calibration
from ..checkpoints.encodings import LIGHTX2V
from ..common.log import log
from ..converting.smooth import NEEDS_CONFIG, behind_norms, factors, norm_units
from ..converting.units import Unit
from ..formats import format_of
from ..formats.format import Format
from ..layer_rules import Selection
from ..linear.layers import linear_layers
from .errors import QuantizeError
from .patchers import with_loras_in_weights
from .smoother import Smoother
from .stored_format import in_our_layout
from .weights import read, shape_of

MODEL = "diffusion_model"
# its name in Quantize Model
SHARED = "lightx2v"


@torch.no_grad()
def shared_smoother(patcher, selection: Selection, calibration: Calibration, alpha: float | None = None) -> Smoother:
    """A Smoother for `quantize_model` whose result can be saved in LightX2V's dialect: the layers behind each of Wan's
    norms get a common factor. alpha: see Smoother. Raises CalibrationError for a calibration that is empty, of another
    model or not finite."""
    patcher = with_loras_in_weights(patcher)
    layers = linear_layers(patcher.model.get_submodule(MODEL))

    def weight_of(name: str) -> torch.Tensor:
        """float32 [N, K] with its LoRAs."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        key = f"{MODEL}.{name}.weight"
        weight, _ = read(layers[name], patcher.load_device)
        patches = patcher.patches.get(key, ())
        return comfy.lora.calculate_weight(list(patches), weight.clone(), key) if patches else weight

    smoothable = frozenset(layer for group in behind_norms(selection.formats) for layer in group)
    smoother = Smoother(calibration, alpha, smoothable=smoothable)
    calibration.check_fits({name: layers[name].in_features for name in selection.formats})
    found = factors(calibration, selection.formats, weight_of, LIGHTX2V, alpha)
    smoother.found = {name: found.get(name) for name in selection.formats}
    return smoother


def affine_norms(layers: Mapping[str, torch.nn.Module]) -> list[Unit]:
    """Units for LightX2V's affine_norms of an unloaded Wan model; none if nothing is smoothed. layers: name -> layer.
    Raises QuantizeError for a smoothed layer behind no norm, or whose neighbours have another factor."""
    rows = {name: row for name, layer in layers.items() if (row := _row(layer)) is not None}
    factors_of = {name: layers[name].weight._params.pre_quant_scale.cpu() for name, row in rows.items() if row.smooth}
    if not factors_of:
        return []
    shapes = {name: shape_of(layer) for name, layer in layers.items()}
    ones = {name: torch.ones(shape[1]) for name, shape in shapes.items()}
    placed = set()
    for group in behind_norms(shapes):
        first, *others = (factors_of.get(layer, ones[layer]) for layer in group)
        placed.update(group if all(torch.equal(first, other) for other in others) else ())
    wrong = next((name for name in factors_of if name not in placed), None)
    if wrong is not None:
        raise QuantizeError(
            f"Layer {wrong} is smoothed by itself; files for {LIGHTX2V} have one factor for all layers after a norm. "
            f"Set load with (dialect) to x2v, or smoothing to {SHARED} in Quantize Model."
        )
    log.info("%s.", NEEDS_CONFIG)
    exact = all(torch.equal(factor, factor.to(torch.bfloat16).float()) for factor in factors_of.values())
    dtype = torch.bfloat16 if exact else torch.float32
    return norm_units(factors_of, shapes, {name: row.family for name, row in rows.items()}, dtype)


def _row(layer: torch.nn.Module) -> Format | None:
    """What the layer is quantized as, None if it is not."""
    weight = in_our_layout(layer) if isinstance(layer.weight, QuantizedTensor) else None
    return None if weight is None else format_of(weight)
