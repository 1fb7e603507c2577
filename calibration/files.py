"""The file of a calibration: statistics of every layer, and tokens, which are read once they are asked for."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch

from ..checkpoints.written_header import written_header
from ..writing import whole_file
from .errors import CalibrationError
from .sample import Sample

FORMAT = "x2v-quant calibration 1"
PICK = "Pick a file that was saved as one."
DAMAGED = "The file is damaged: save it again."
# suffixes of tensor names, after the layer's name
MAXIMA, SQUARES, TOKENS, INPUTS = ".maxima", ".squares", ".tokens", ".inputs"
# metadata: a JSON object, layer -> the layer whose inputs in the file are its own too
SHARED = "shared_inputs"
# a number of calls, as people could wait for
CALLS = re.compile(r"[0-9]{1,9}")
# of tokens: types of their number, and how many float64 still tells apart
COUNTS = (torch.int64, torch.int32, torch.int16, torch.uint8)
MOST = 2**53
DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True, eq=False)
class StoredInputs:
    """Tokens [T, K] of `layer` in a calibration's file: `shape` and `dtype` are known, values are read when asked."""

    path: Path
    layer: str
    shape: tuple[int, int]
    dtype: torch.dtype

    def read(self) -> torch.Tensor:
        """[T, K] on the CPU, mapped from the file. Raises CalibrationError if the file is no longer what it was, or a
        value is not finite."""
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                tokens = file.get_tensor(f"{self.layer}{INPUTS}")
        except (OSError, safetensors.SafetensorError) as error:
            raise CalibrationError(
                f"{self.path.name} is gone, or another file than the one that was loaded. Load the calibration again."
            ) from error
        if (tuple(tokens.shape), tokens.dtype) != (self.shape, self.dtype) or not bool(tokens.isfinite().all()):
            raise CalibrationError(
                f"{self.path.name}: inputs of {self.layer} are infinite or not numbers, or another file was saved in "
                "its place. Load it again, or save another one."
            )
        return tokens


Inputs = Sample | StoredInputs | torch.Tensor


def values(inputs: Inputs) -> torch.Tensor:
    """[T, K] in 16 bits on the CPU."""
    return inputs if isinstance(inputs, torch.Tensor) else inputs.read()


def owners(inputs: Mapping[str, Inputs]) -> dict[str, str]:
    """Layer -> the first layer that has the same inputs, itself if there is no other before."""
    first: dict[int, str] = {}
    return {layer: first.setdefault(id(seen), layer) for layer, seen in inputs.items()}


def write(
    path: Path, tensors: Mapping[str, torch.Tensor], inputs: Mapping[str, Inputs], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file, whole or not at all. tensors: by their names in the file. inputs: by layer, one layer's
    tokens in memory at a time. Raises WriteError where the file cannot be written."""
    owned = owners(inputs)
    tokens = {f"{layer}{INPUTS}": inputs[layer] for layer, owner in owned.items() if layer == owner}
    aliases = {layer: owner for layer, owner in owned.items() if layer != owner}
    shared = {SHARED: json.dumps(aliases)} if aliases else {}
    every = {**tensors, **tokens}
    specs = {name: (each.dtype, tuple(each.shape)) for name, each in every.items()}
    header, ranges = written_header(specs, {"format": FORMAT, **metadata, **shared})
    with whole_file(path, overwrite=True) as file:
        file.write(header)
        for name in ranges:
            file.write(values(every[name]).contiguous().flatten().view(torch.uint8).numpy())


def read(path: Path) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Inputs], int]:
    """({suffix: {layer: tensor}} for MAXIMA, SQUARES and TOKENS, {layer: inputs}, calls). Raises CalibrationError for a
    file that is no calibration or damaged, OSError if there is none."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names if not name.endswith(INPUTS)}
            tokens = {
                layer: _stored(path, layer, file.get_slice(f"{layer}{INPUTS}"))
                for layer in (name.removesuffix(INPUTS) for name in names if name.endswith(INPUTS))
            }
    except safetensors.SafetensorError as error:
        raise CalibrationError(f"{path.name} is no calibration: {error}. {PICK}") from error
    if metadata.get("format") != FORMAT or not CALLS.fullmatch(metadata.get("calls", "")):
        raise CalibrationError(f"{path.name} is no calibration. {PICK}")
    endings = (MAXIMA, SQUARES, TOKENS)
    seen = {
        end: {name.removesuffix(end): each for name, each in tensors.items() if name.endswith(end)} for end in endings
    }
    try:
        aliases = dict(json.loads(metadata.get(SHARED, "{}")))
        inputs = {**tokens, **{layer: tokens.get(owner) for layer, owner in aliases.items()}}
    except (ValueError, TypeError, RecursionError) as error:
        raise CalibrationError(
            f"{path.name}: which layers share inputs cannot be read in its metadata. {DAMAGED}"
        ) from error
    cause = _cause(seen, inputs)
    if cause:
        raise CalibrationError(f"{path.name}: {cause}. {DAMAGED}")
    return seen, inputs, int(metadata["calls"])


def _stored(path: Path, layer: str, part) -> StoredInputs:
    return StoredInputs(path, layer, tuple(part.get_shape()), DTYPES.get(part.get_dtype()))


def _cause(seen: dict[str, dict[str, torch.Tensor]], inputs: dict[str, StoredInputs | None]) -> str:
    """What of a file does not go together, or is no statistics, "" if all is sound."""
    maxima, squares, tokens = seen[MAXIMA], seen[SQUARES], seen[TOKENS]
    for layer, known in maxima.items():
        if known.ndim != 1 or squares.get(layer, known).shape != known.shape or squares.keys() != tokens.keys():
            return f"{layer} has maxima of shape {list(known.shape)} that do not go with what is beside them"
    for end, of_layers in ((MAXIMA, maxima), (SQUARES, squares)):
        for layer, values in of_layers.items():
            if layer not in maxima:
                return f"{layer}{end} is there of layer {layer}, which has no maxima"
            if not values.is_floating_point() or values.itemsize == 1:
                return f"{layer}{end} is {_name(values.dtype)}, not floating-point numbers"
            if bool(values.isnan().any()) or bool((values < 0).any()):
                return f"{layer}{end} has a value that is negative or not a number"
    for layer, count in tokens.items():
        if count.dtype not in COUNTS or count.numel() != 1:
            return f"{layer}{TOKENS} is {_name(count.dtype)} of shape {list(count.shape)}, not one whole number"
        if not 0 < int(count) <= MOST:
            return f"{layer}{TOKENS} is {int(count)}, which is no number of tokens"
    for layer, stored in inputs.items():
        if layer not in maxima:
            return f"inputs are there of layer {layer}, which has no maxima"
        if stored is None:
            return f"{layer} shares the inputs of a layer that has none"
        channels = len(maxima[layer])
        if stored.dtype is None or len(stored.shape) != 2 or stored.shape[1] != channels:
            return f"{layer} has inputs of shape {list(stored.shape)} that are not 16-bit rows of {channels} channels"
    return ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
