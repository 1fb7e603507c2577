"""A checkpoint: what it is, whether it is sound, and its weights under ComfyUI's names."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from . import names
from .errors import Problem
from .kinds import LOADERS, UNKNOWN, Family, find_prefix, identify
from .layers import CODES, SPIECE, WEIGHT, Findings, StoredLayer, find_layers
from .markers import WHOLE_FILE
from .reader import read_contents, read_file
from .tensor_info import TensorInfo

# lookup tables, which no kernel for linear layers computes
EMBEDDING = re.compile(r"(.*\.)?(shared|embed_tokens|\w*_embedding|relative_attention_bias)")

Read = Callable[[Path], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class QuantizedLayer:
    """One linear layer of ComfyUI's model. `shape`: (N, K) of this layer; `rows`: its share of the rows of a tensor
    that the file keeps in one piece (to_qkv), None for all; `dtype`: of the codes."""

    name: str
    format: str
    weight_key: str
    scale_key: str
    shape: tuple[int, int]
    rows: slice | None
    dtype: str


@dataclass(frozen=True)
class HeldWeight:
    """A quantized weight of `shape` (N, K) as a name in formats.FORMATS describes it: `tensors` are what that row's
    `tensors` lists, "codes" among them, in the dtypes and shapes of its layout."""

    format: str
    shape: tuple[int, int]
    tensors: dict[str, torch.Tensor]


@dataclass
class Weights:
    """Under ComfyUI's names. `plain`: unquantized, in the file's dtypes. `quantized`: by layer. `spiece_model`: the
    tokenizer's bytes (uint8), if the file carries them."""

    plain: dict[str, torch.Tensor] = field(default_factory=dict)
    quantized: dict[str, HeldWeight] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    spiece_model: torch.Tensor | None = None


@dataclass
class Checkpoint:
    """Everything that the headers tell. `kind`: "dit", "t5", "clip_vision" or "unknown"; `tensors` and `kept` (what
    stays unquantized) are under the file's names, `layers` under ComfyUI's; `prefix` stands before the former."""

    path: Path
    files: list[Path]
    family: Family
    model: str
    prefix: str
    metadata: dict[str, str]
    tensors: dict[str, TensorInfo]
    layers: dict[str, QuantizedLayer]
    kept: list[str]
    problems: list[Problem]
    notes: list[str]

    @property
    def kind(self) -> str:
        return self.family.kind

    @property
    def formats(self) -> dict[str, int]:
        """Format -> number of layers, as the file counts them (a fused to_qkv is one)."""
        weights = {layer.weight_key: layer.format for layer in self.layers.values()}
        return {name: list(weights.values()).count(name) for name in sorted(set(weights.values()))}

    def require(self, kind: str) -> None:
        """Raise CheckpointError unless this is a sound quantized model of `kind`; the message names the node or the
        loader of core that takes it."""
        node, core, wanted = LOADERS[kind]
        name = self.path.name
        if self.kind not in (kind, UNKNOWN):
            ours = self.layers or self.problems or not self.family.core_reads
            cause = f"({self.model}) belongs into {LOADERS[self.kind][0 if ours else 1]}"
            raise Problem(name, "", cause, f"{node} takes {wanted}.").error()
        if self.problems:
            error = self.problems[0].error()
            more = len(self.problems) - 1
            tail = f" ({more} more like this: see x2v-quant inspect.)" if more else ""
            raise type(error)(f"{error}{tail}", error.problem)
        if not self.layers:
            remedy = f"Load it with ComfyUI's own {core}."
            if not self.family.core_reads:
                remedy = f"Pick its int8 or fp8 file here, or load ComfyUI's own edition of it with {core}."
            raise Problem(name, "", f"({self.model}) is not quantized", remedy).error()

    def load(self, read: Read | None = None) -> Weights:
        """Read the weights. `read`: path -> the tensors of that file, by default memory-mapped on the CPU. Codes are
        the tensors that were read or views of their rows. Raises CheckpointError for a scale that is not a number."""
        tensors: dict[str, torch.Tensor] = {}
        for file in self.files:
            tensors.update((read or read_file)(file))
        weights = Weights(metadata=dict(self.metadata), spiece_model=tensors.get(SPIECE))
        for key in self.kept:
            for target in names.targets(self.family.names, key.removeprefix(self.prefix)):
                weights.plain[target.name] = target.take(tensors[key])
        for layer in self.layers.values():
            codes, scale = tensors[layer.weight_key], self._scale(layer, tensors[layer.scale_key])
            if layer.rows is not None:
                codes = codes[layer.rows]
            weights.quantized[layer.name] = HeldWeight(layer.format, layer.shape, {"codes": codes, "scale": scale})
        return weights

    def _scale(self, layer: QuantizedLayer, scale: torch.Tensor) -> torch.Tensor:
        """Float32 [N, 1] of this layer's rows, out of a scale per row or one for all."""
        rows = self.tensors[layer.weight_key].shape[0]
        scale = scale.to(torch.float32).reshape(-1, 1).expand(rows, 1)
        if not bool((scale.isfinite() & (scale >= 0)).all()):
            file = self.tensors[layer.scale_key].file.name
            remedy = "The file is damaged: download it again."
            raise Problem(file, layer.scale_key, "holds a scale that is negative or not a number", remedy).error()
        return (scale if layer.rows is None else scale[layer.rows]).contiguous()


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Read the headers of a file or folder, never its weights.

    Raises CheckpointError where nothing sensible can be read; what is wrong with the tensors is in `problems`.
    """
    path = Path(path)
    files, contents = read_contents(path)
    tensors = contents.tensors
    prefix = find_prefix(tensors)
    shapes = {key.removeprefix(prefix): info.shape for key, info in tensors.items()}
    quantized = any(i.dtype in CODES and len(i.shape) == 2 and k.endswith(WEIGHT) for k, i in tensors.items())
    family, model = identify(shapes, quantized)
    taken = [key for key in tensors if names.targets(family.names, key.removeprefix(prefix))]
    found = find_layers(contents, prefix, taken)
    problems = _misplaced(path, family, prefix, tensors) + found.problems
    layers = {}
    for stored in found.layers:
        layers.update(_renamed(stored, family, prefix, tensors[stored.weight_key], problems))
    kept = _kept(taken, found, family, prefix, tensors, problems)
    notes = contents.notes + found.notes
    return Checkpoint(path, files, family, model, prefix, contents.metadata, tensors, layers, kept, problems, notes)


def _misplaced(path: Path, family: Family, prefix: str, tensors: dict[str, TensorInfo]) -> list[Problem]:
    """A model that is none of ours, or a file that holds more than a diffusion model."""
    problems = []
    if family.kind == UNKNOWN:
        problems.append(Problem(path.name, "", f"is {family.model}", family.elsewhere))
    outside = next((key for key in tensors if not key.startswith(prefix) and key != WHOLE_FILE), None)
    if outside is not None:
        cause = f"is not part of the diffusion model ({prefix}*)"
        remedy = "Take a file that holds the diffusion model alone."
        problems.append(Problem(tensors[outside].file.name, outside, cause, remedy))
    return problems


def _renamed(
    stored: StoredLayer, family: Family, prefix: str, info: TensorInfo, problems: list[Problem]
) -> dict[str, QuantizedLayer]:
    """The layers of ComfyUI's model that one stored layer becomes; what is wrong with them goes to `problems`."""
    layers = {}
    rows, columns = info.shape
    for target in names.targets(family.names, stored.weight_key.removeprefix(prefix)):
        name = target.name.removesuffix(WEIGHT)
        if EMBEDDING.fullmatch(name):
            remedy = "Get the model with its embedding unquantized."
            problems.append(Problem(info.file.name, stored.weight_key, "is a quantized embedding", remedy))
            return {}
        layers[name] = QuantizedLayer(
            name,
            stored.format,
            stored.weight_key,
            stored.scale_key,
            (rows // target.parts, columns),
            target.rows(rows),
            info.dtype,
        )
    return layers


def _kept(
    taken: list[str],
    found: Findings,
    family: Family,
    prefix: str,
    tensors: dict[str, TensorInfo],
    problems: list[Problem],
) -> list[str]:
    """Keys of the unquantized tensors. Two that get the same name in ComfyUI go to `problems`, and one that cannot be
    split into equal parts."""
    kept = [key for key in taken if key not in found.consumed]
    origin: dict[str, str] = {}
    for key in (*kept, *(layer.weight_key for layer in found.layers)):
        for target in names.targets(family.names, key.removeprefix(prefix)):
            file, shape = tensors[key].file.name, tensors[key].shape
            other = origin.setdefault(target.name, key)
            if other != key:
                remedy = "The file mixes two ways of naming: download it again."
                problems.append(Problem(file, key, f"is the same tensor as {other}", remedy))
            if target.part == 0 and target.parts > 1 and (not shape or shape[0] % target.parts):
                cause = f"has shape {list(shape)}, whose rows do not make {target.parts} layers"
                problems.append(Problem(file, key, cause, "The file is damaged: download it again."))
    return kept
