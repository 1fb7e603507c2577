"""A checkpoint: what it is, whether it is sound, and its weights under ComfyUI's names."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..families.family import CLIP_VISION, DIT, T5, UNKNOWN, Family, Naming
from ..families.recognise import PREFIXES, Told
from ..families.rules import targets
from . import joining, plain_values, silence, unscaled, zero_points
from .affine_norm import AffineNorm
from .embedding import Embedding
from .encodings import WrongValueError
from .errors import CheckpointError, Problem
from .reader import read_file
from .rescaled import Rescaled
from .scaled import Scaled
from .stored import StoredLayer
from .tensor_info import SPIECE, UPCAST, TensorInfo
from .weights import QuantizedLayer, StoredWeight, Weights

# kind -> (our node, core's node, what they take, the folder of models that both list)
LOADERS = {
    DIT: ("Load Quantized DiT", "Load Diffusion Model", "a diffusion model", "diffusion_models"),
    T5: ("Load Quantized T5", "Load CLIP", "a umt5 text encoder", "text_encoders"),
    CLIP_VISION: ("Load Quantized CLIP", "Load CLIP Vision", "a CLIP vision encoder", "clip_vision"),
}
# those that core takes off
CORES_PREFIXES = ("", PREFIXES[0])
# a type, that of mxfp8's scales, for which core's reader of streamed files has no entry: `read` is not asked then
UNKNOWN_TO_CORE = "float8_e8m0fnu"

Read = Callable[[Path], dict[str, torch.Tensor]]


@dataclass
class Checkpoint:
    """Everything that the headers tell. `told`: what model it is; `tensors` and `kept` (what
    stays unquantized) are under the file's names without what wrappers added to them, `keys` are those -> the names as
    they are in the files; `layers` are under ComfyUI's, but for a naming that `joins`, whose layers get those in
    `load`; `prefix` stands before the former. `folded`: those of `kept` that are the weights of smoothed layers -> what
    is folded into them. `added`: those of `kept` that the files lack -> their values. `aloud`: those of `notes` that
    whoever loads the model is told as well. `nested`: see Contents. `settings`: keys of what newer ComfyUI keeps, which
    are not loaded. `rescaled`: what layers lost as they were read."""

    path: Path
    files: list[Path]
    told: Told
    prefix: str
    metadata: dict[str, str]
    tensors: dict[str, TensorInfo]
    layers: dict[str, QuantizedLayer]
    kept: list[str]
    problems: list[Problem]
    notes: list[str]
    folded: dict[str, AffineNorm | Embedding | Scaled] = field(default_factory=dict)
    added: dict[str, torch.Tensor] = field(default_factory=dict)
    aloud: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    nested: set[Path] = field(default_factory=set)
    settings: list[str] = field(default_factory=list)
    rescaled: Rescaled = field(default_factory=Rescaled)

    @property
    def family(self) -> Family:
        return self.told.family

    @property
    def naming(self) -> Naming:
        return self.told.naming

    @property
    def kind(self) -> str:
        """ "dit", "t5", "clip_vision" or "unknown"."""
        return self.told.kind

    @property
    def model(self) -> str:
        """In words."""
        return self.told.model

    @property
    def formats(self) -> dict[str, int]:
        """Format -> number of layers, as the file counts them (a fused to_qkv is one)."""
        weights = {layer.weight_key: layer.format for layer in self.layers.values()}
        return {name: list(weights.values()).count(name) for name in sorted(set(weights.values()))}

    @property
    def is_cores(self) -> bool:
        """Whether core's loader lists this file and reads its names, given that it is not quantized."""
        same = all(name == key for name, key in self.keys.items()) and self.prefix in CORES_PREFIXES
        return self.naming.core_reads and same and self.path.is_file() and not (self.added or self.nested)

    @property
    def is_plain_t5(self) -> bool:
        """Whether this is an unquantized text encoder that core cannot read: LightX2V publishes umt5 so."""
        return self.kind == T5 and not self.layers and not self.is_cores

    @property
    def loader(self) -> str:
        """The node that takes this model of a known kind; empty for an unquantized one that none takes."""
        ours, cores, _, _ = LOADERS[self.kind]
        if self.layers or self.is_plain_t5:
            return ours
        return cores if self.is_cores else ""

    def require(self, kind: str, unquantized: bool = False) -> None:
        """Raise CheckpointError unless this is a sound quantized model of `kind`, or an unquantized one where those
        will do; the message names the node or the loader of core that takes it."""
        node, core, wanted, _ = LOADERS[kind]
        name = self.path.name
        if self.kind not in (kind, UNKNOWN):
            ours, cores, _, folder = LOADERS[self.kind]
            right = ours if self.layers or self.problems or not self.is_cores else cores
            cause = f"({self.model}) belongs in {right}, which lists the files of models/{folder}"
            raise Problem(name, "", cause, f"{node} takes {wanted}.").error()
        if self.problems:
            error = self.problems[0].error()
            more = len(self.problems) - 1
            tail = f" ({more} more like this: see x2v-quant inspect.)" if more else ""
            raise type(error)(f"{error}{tail}", error.problem)
        if not self.layers and not (unquantized or self.is_plain_t5):
            remedy = f"Load it with ComfyUI's own {core}."
            if not self.is_cores:
                remedy = (
                    "Pick its int8 or fp8 file here, make one of it with `x2v-quant convert`, or load ComfyUI's own "
                    f"edition of it with {core}."
                )
            raise Problem(name, "", f"({self.model}) is not quantized", remedy).error()

    def load(self, read: Read | None = None) -> Weights:
        """Read the weights. `read`: path -> the tensors of that file, by default memory-mapped on the CPU. Codes that
        the file has as the format does are the tensors that were read or views of their rows. Raises CheckpointError
        for values that cannot be used, such as a scale that is not a number."""
        ours = {info.file for info in self.tensors.values() if info.dtype == UNKNOWN_TO_CORE}
        stored: dict[str, torch.Tensor] = {}
        for file in self.files:
            stored.update((read_file if read is None or file in ours | self.nested else read)(file))
        tensors = self.named(stored)
        self.check_unscaled(tensors)
        return self.weights_of(tensors)

    def named(self, stored: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Tensors by the keys of the files -> by their names here, with those that are added."""
        return self.added | {name: stored[key] for name, key in self.keys.items()}

    def check_unscaled(self, tensors: dict[str, torch.Tensor]) -> None:
        """Raise CheckpointError if codes that are read without a scale are those of weights with one."""
        wrong = unscaled.check_range([layer.stored for layer in self.layers.values()], tensors)
        if wrong is not None:
            raise self._wrong(*wrong) from wrong[1]

    def weights_of(self, tensors: dict[str, torch.Tensor]) -> Weights:
        """What `load` returns, of tensors that were read already, by their names here."""
        weights = Weights(metadata=dict(self.metadata), spiece_model=tensors.get(SPIECE), notes=list(self.aloud))
        weights.notes += plain_values.note(plain_values.not_numbers({key: tensors[key] for key in self.kept}))
        for key in self.kept:
            for target in targets(self.naming.before_reading, key.removeprefix(self.prefix)):
                weights.plain[target.name] = target.take(self._plain(key, tensors))
        for _, layers in itertools.groupby(self.layers.values(), key=lambda layer: layer.weight_key):
            layers = list(layers)
            stored = layers[0].stored
            whole = StoredWeight(stored.encoding.format, stored.shape, self.read_layer(stored, tensors))
            for layer in layers:
                weights.quantized[layer.name] = whole.rows([layer.rows])
        weights.notes += self.rescaled.notes()
        if not self.naming.joins:
            return weights
        return joining.join(weights, self.naming.table, self.layers, self.path.name)

    def _plain(self, key: str, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        """An unquantized tensor, without the smoothing that it may have been given; fp8 as bfloat16, which has all of
        its values."""
        if key not in self.folded:
            return tensors[key].to(UPCAST) if self.tensors[key].dtype in unscaled.FP8 else tensors[key]
        try:
            return self.folded[key].fold(key, tensors)
        except WrongValueError as error:
            raise self._wrong(self.folded[key].key_of(error.role), error) from error

    def read_layer(self, stored: StoredLayer, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The tensors of a stored layer, by the names of its format. Raises CheckpointError for values that cannot be
        used; codes on the meta device are not looked at."""
        parts = {role: tensors[key] for role, key in stored.keys.items()}
        if stored.encoding.of_file:
            parts[stored.encoding.of_file] = self.of_file
        try:
            whole = stored.encoding.unpack(parts, stored.shape)
            silence.check_size(whole)
            # codes of fewer bits become int8 without a loss
            floats = parts["codes"].is_floating_point() and not whole["codes"].is_meta
            if stored.encoding.rescaled and floats:
                self.rescaled.measure(stored.weight_key, parts, whole)
            if not whole["codes"].is_meta:
                silence.check(stored.encoding.format, whole, stored.shape)
            return whole
        except WrongValueError as error:
            raise self._wrong(stored.keys[error.role], error) from error

    @functools.cached_property
    def of_file(self) -> torch.Tensor:
        """What GPTQ's zero points lack in this file, 1 or 0: see zero_points."""
        stored = {layer.weight_key: layer.stored for layer in self.layers.values() if layer.stored.encoding.of_file}
        return torch.tensor(zero_points.taken_off(self.path, self.metadata, stored.values(), self.tensors, self.keys))

    def _wrong(self, key: str, error: WrongValueError) -> CheckpointError:
        return Problem(self.tensors[key].file.name, self.keys[key], error.cause, error.remedy).error()
