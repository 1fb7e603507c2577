"""What each format would cost a layer: the error of its output and the bytes of its tensors, before any is written."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch

from ..calibration import Calibration
from ..calibration.output_error import TOKENS, drawn_activations
from ..checkpoints.encodings import X2V
from ..common.decibels import decibels
from ..formats import FORMATS, SMOOTHED, fitting
from ..kernels.activation import SIMULATED
from ..layer_rules.format_names import CHOICES, format_named
from ..layer_rules.overrides import KEEP
from ..layer_rules.shapes import why_not
from .dialects import layer_specs, writable
from .errors import ConvertError
from .layer_rounding import LayerRounding
from .rows import TILE, WHOLE, Rows
from .smooth import Factors
from .trial import TO_THE_NEAREST, Trial
from .units import Spec

# float32 values of a weight that are measured at a time: more would leave a CPU's cache
CHUNK = 1 << 20
# rows of a weight that stand for all, in runs that are read at a time
SAMPLED, RUN = 512, 16
# no more than this is said of a tensor in a file's header beside its name: type, shape and place
HEADER_ENTRY = 90


class Cost(NamedTuple):
    """`snr`: |y|^2 / |z - y|^2 in dB, of a layer's output y and the quantized one's z; infinite without any error.
    `nbytes`: of the layer's weight in the file, scales and header included."""

    snr: float
    nbytes: int


@dataclass(frozen=True)
class Layer:
    """A weight of `shape` (N, K) to be measured. `rows()` gives access to it when its turn has come. `place`: file and
    key, for the error. `kept`: its tensors by name if it is not quantized. `scale_dtype`: see dialects.layer_specs."""

    shape: tuple[int, int]
    rows: Callable[[], Rows]
    place: str
    kept: dict[str, Spec]
    scale_dtype: torch.dtype = torch.float32

    @property
    def nbytes(self) -> int:
        """Of the weight if it is not quantized."""
        return sum(spec.nbytes for spec in self.kept.values())


# of no format
UNSMOOTHED: Mapping[str, Factors] = MappingProxyType({})

# layer -> format or KEEP -> what it costs
Measured = dict[str, dict[str, Cost]]


def candidates(names: Sequence[str], dialect: str) -> tuple[str, ...]:
    """The formats that a search chooses from: `names`, which schemes and aliases may be among, or all advised ones that
    the dialect has. Raises RuleError for a name that is not known, ConvertError for a format that the dialect does not
    have."""
    known = [name for name in writable(dialect) if name in CHOICES]
    wanted = dict.fromkeys(map(format_named, names)) if names else [name for name in known if FORMATS[name].advised]
    missing = next((name for name in wanted if name not in known), None)
    if missing is not None:
        raise ConvertError(
            f"{missing} is among the candidates, which the dialect {dialect} does not have: choose from "
            f"{', '.join(known)}, or take the dialect {X2V}, which has every format."
        )
    return tuple(wanted)


def measure(
    layers: Mapping[str, Layer],
    formats: Sequence[str],
    dialect: str,
    calibration: Calibration | None = None,
    progress: Callable[[str], None] = lambda layer: None,
    factors: Mapping[str, Factors] = UNSMOOTHED,
    rounding: LayerRounding | None = None,
) -> Measured:
    """The costs of each layer in every one of `formats` that can hold it, and of keeping it, which has no error.

    Inputs are those that `calibration` has, or drawn from the channels' sizes that it has seen, and normal without it;
    they are quantized as the format's kernels quantize them, with a scale of their own where the format has a static
    one. factors: format -> the layers that are smoothed if they get it. rounding: how layers will be rounded; None: to
    the nearest. In float32, a few rows of one weight at a time; of a tall one only SAMPLED are
    measured. progress(layer) after each.

    Raises ConvertError for weights that are not finite and where no format can hold any layer, CalibrationError for a
    calibration of another model.
    """
    if calibration is not None:
        calibration.check_fits({name: layer.shape[1] for name, layer in layers.items()})
    measured: Measured = {}
    for name, layer in layers.items():
        possible = [fitting(kind, layer.shape) for kind in formats if why_not(kind, layer.shape) is None]
        smoothed = {kind: factors[kind][name] for kind in possible if name in factors.get(kind, {})}
        trial = TO_THE_NEAREST if rounding is None else rounding.trial(name)
        x = _drawn(name, layer.shape[1], calibration) if trial.unseen is None else trial.unseen
        ratios = output_snr(layer, possible, x, smoothed, trial)
        measured[name] = {KEEP: Cost(math.inf, stored_bytes(layer.kept))}
        for format_name, snr in ratios.items():
            # the other dialect has factors beside the layers
            stored = SMOOTHED[format_name] if format_name in smoothed and dialect == X2V else format_name
            tensors = layer_specs(stored, layer.shape, dialect, layer.scale_dtype)
            specs = {f"{name}.{end}": Spec.of(tensor) for end, tensor in tensors.items()}
            measured[name][format_name] = Cost(snr, stored_bytes(specs))
        progress(name)
    if measured and all(costs.keys() == {KEEP} for costs in measured.values()):
        name, layer = next(iter(layers.items()))
        reason = why_not(formats[0], layer.shape)
        raise ConvertError(f"No candidate can store any layer: {name} {reason}. Allow other candidates.")
    return measured


def stored_bytes(specs: Mapping[str, Spec]) -> int:
    """What tensors take in a file, their entries in its header included; a little more than they really do."""
    return sum(spec.nbytes + len(name) + HEADER_ENTRY for name, spec in specs.items())


def output_snr(
    layer: Layer,
    formats: Sequence[str],
    x: torch.Tensor,
    factors: Mapping[str, torch.Tensor] = MappingProxyType({}),
    trial: Trial = TO_THE_NEAREST,
) -> dict[str, float]:
    """Format -> dB, for inputs x float32 [M, K]. factors: pre_quant_scale float32 [K] of the formats that the layer is
    smoothed in. trial: rounds the weight. Raises ConvertError for weights that are not finite."""
    rows = layer.rows()
    scales = _whole_scales(rows, layer.shape, formats)
    inputs: dict[str, torch.Tensor] = {}
    signal, errors = 0.0, dict.fromkeys(formats, 0.0)
    for weight in _sampled(rows, layer.shape):
        expected = x @ weight.t()
        signal += _square(expected)
        for name in formats:
            row = FORMATS[SMOOTHED[name] if name in factors else name]
            tensors = trial.rounded(weight, row.name, scales.get(name), factors.get(name))
            if name not in inputs:
                inputs[name] = SIMULATED[row.activation](x, tensors)
            kept = row.wrap(tensors, torch.float32, tuple(weight.shape)).dequantize()
            errors[name] += _square((inputs[name] @ kept.t()).sub_(expected))
    if not math.isfinite(signal):
        raise ConvertError(
            f"{layer.place} contains NaN, infinity or values near it. The model is damaged: download it again, or "
            "merge it again."
        )
    return {name: decibels(signal, error, math.inf) for name, error in errors.items()}


def _square(values: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(values)) ** 2


def _whole_scales(rows: Rows, shape: tuple[int, int], formats: Sequence[str]) -> dict[str, torch.Tensor]:
    """The scales that a format has one of, which take a pass of their own."""
    wanted = [name for name in formats if name in WHOLE]
    if not wanted:
        return {}
    maxima = [torch.maximum(chunk.amax(), -chunk.amin()) for chunk in _chunks(rows, shape)]
    amax = torch.stack(maxima).amax()
    # NaN has no scale; what the weights are is found out from their products
    amax = amax if bool(amax.isfinite()) else torch.ones(())
    return {name: WHOLE[name](amax.clone()) for name in wanted}


def _chunks(rows: Rows, shape: tuple[int, int]) -> Iterator[torch.Tensor]:
    """Whole tiles of rows, but for the last."""
    step = max(1, CHUNK // (shape[1] * TILE)) * TILE
    for start in range(0, shape[0], step):
        yield rows(start, min(start + step, shape[0]))


def _sampled(rows: Rows, shape: tuple[int, int]) -> Iterator[torch.Tensor]:
    """Chunks of a weight with no more rows than SAMPLED; of a taller one runs of rows, evenly spaced, as one chunk."""
    if shape[0] <= SAMPLED:
        yield from _chunks(rows, shape)
        return
    starts = torch.linspace(0, shape[0] - RUN, SAMPLED // RUN).round().int().tolist()
    yield torch.cat([rows(start, start + RUN) for start in starts])


def _drawn(layer: str, width: int, calibration: Calibration | None) -> torch.Tensor:
    """float32 [TOKENS, width], the same for the same layer."""
    if calibration is None or layer not in calibration.maxima:
        return torch.randn((TOKENS, width), generator=torch.Generator().manual_seed(0))
    maxima, deviations = calibration.maxima[layer], calibration.deviations(layer)
    return drawn_activations(maxima.to("cpu", torch.float32), deviations.to("cpu", torch.float32))
