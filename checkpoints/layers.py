"""Which tensors are quantized linear layers, and everything that is wrong with them, from names, shapes and types."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import markers
from .errors import Problem
from .foreign import WHAT_IS_READ, dtype_looks_like, scale_looks_like
from .tensor_info import MARKER_SUFFIX, Contents, TensorInfo

# dtype of the codes -> format
CODES = {"int8": "int8-channel", "float8_e4m3fn": "fp8-channel"}
SCALE_DTYPES = ("float32", "bfloat16", "float16", "float64")
PLAIN_DTYPES = (*SCALE_DTYPES, "bool", "int16", "int32", "int64")

WEIGHT = ".weight"
SCALES = (".weight_scale", ".scale_weight", ".weight_scale_inv")
INPUT_SCALES = (".input_scale", ".scale_input")
SPIECE = "spiece_model"
# tensors that belong to a quantized weight and change what it means: never to be passed over
COMPANION = re.compile(
    r"(.*\.)?(weight_(?!g$|v$|norm).+|scale_weight.*|(pre_quant|smooth|act|input|output|q|k|v)_(scale|inv_scale|global_scale)"
    r"|scale_(input|output)|(weight_)?zero_points?|qweight|qzeros|scales|g_idx|.*workspace|absmax|quant_map|quant_state.*"
    r"|smooth(ing)?_factor|svd_(up|down)|proj_(up|down)_lora|.*_scale_inv)|(.*\.)?affine_norm\d+\..+"
)
GUESSES = 16

DAMAGED = "The file is damaged or mixed from two models: download it again."
LATER = "It needs a later version of this pack, or ComfyUI's own loader."


@dataclass(frozen=True)
class StoredLayer:
    """A linear layer as the file has it: keys of its codes [N, K] and of its scale (N values, or one for all)."""

    weight_key: str
    scale_key: str
    format: str


@dataclass
class Findings:
    """`consumed`: every key that is no plain tensor, whether its layer is sound or not."""

    layers: list[StoredLayer] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    consumed: set[str] = field(default_factory=set)


def find_layers(contents: Contents, prefix: str, keys: Iterable[str]) -> Findings:
    """Sort `keys` of `contents` (those that a model takes) into quantized layers, problems and the plain rest."""
    return _Search(contents, prefix, list(keys)).run()


class _Search:
    def __init__(self, contents: Contents, prefix: str, keys: list[str]):
        self.tensors = {key: contents.tensors[key] for key in keys}
        self.prefix = prefix
        self.keys = keys
        self.found = Findings()
        # layers with a problem: what else is odd about them follows from it
        self.blamed: set[str] = set()
        self.siblings: dict[str, dict[str, TensorInfo]] = {}
        for key in keys:
            layer, _, end = key.rpartition(".")
            self.siblings.setdefault(layer, {})[end] = self.tensors[key]
        self.markers = self._read_markers(contents)

    def run(self) -> Findings:
        for layer in self.markers:
            self._marked(layer)
        for key in self.keys:
            info = self.tensors[key]
            if info.dtype in CODES and key.endswith(WEIGHT) and len(info.shape) == 2:
                self._layer(key.removesuffix(WEIGHT), info)
        # weights first, so that an odd layer is blamed on its weight, not on the scale beside it
        for key in sorted(self.keys, key=lambda key: not key.endswith("weight")):
            if key not in self.found.consumed and not self._plain(key):
                self.found.consumed.add(key)
        self._note_ignored()
        return self.found

    def _blame(self, key: str, cause: str, remedy: str) -> None:
        layer = key.rpartition(".")[0]
        if layer not in self.blamed or not layer:
            self.blamed.add(layer)
            self.found.problems.append(Problem(self.tensors[key].file.name, key, cause, remedy))

    def _read_markers(self, contents: Contents) -> dict[str, markers.Marker]:
        found = {
            key.removesuffix(MARKER_SUFFIX): markers.from_bytes(data)
            for key, data in contents.markers.items()
            if key in self.tensors
        }
        text = contents.metadata.get(markers.HEADER_KEY)
        if text is None:
            return found
        table = markers.from_header(text)
        if table is None:
            file = next(iter(self.tensors.values())).file.name
            self.found.problems.append(Problem(file, markers.HEADER_KEY, "is no JSON table of layers", DAMAGED))
            return found
        absent = []
        for name, marker in table.items():
            layer = name if self._weight(name) else self.prefix + name
            if self._weight(layer):
                found.setdefault(layer, marker)
            else:
                absent.append(name)
        if absent:
            self.found.notes.append(f"the header marks {len(absent)} layers that are not in the file: {absent[0]}, ...")
        return found

    def _marked(self, layer: str) -> None:
        marker, weight = self.markers[layer], self._weight(layer)
        if weight is None:
            self._blame(f"{layer}{MARKER_SUFFIX}", "marks a layer that has no weight", DAMAGED)
        elif marker.fault:
            self._blame(f"{layer}{WEIGHT}", marker.fault, LATER)
        elif marker.dtype != weight.dtype:
            self._blame(f"{layer}{WEIGHT}", f"is {weight.dtype} but marked as {marker.dtype}", DAMAGED)

    def _layer(self, layer: str, weight: TensorInfo) -> None:
        key = f"{layer}{WEIGHT}"
        self.found.consumed.add(key)
        scales = [layer + end for end in SCALES if layer + end in self.tensors]
        self.found.consumed.update(scales[:1])
        if layer in self.blamed:
            return
        if not scales:
            near = self._nearest(layer)
            words = f" (the nearest name in the file is {near})" if near else ""
            self._blame(key, f"has no scale{words}", self._scale_remedy(near))
        elif len(scales) > 1:
            self._blame(scales[1], f"is a second scale beside {scales[0]}", DAMAGED)
        elif self._scale_fits(layer, scales[0], weight):
            self.found.layers.append(StoredLayer(key, scales[0], CODES[weight.dtype]))

    def _scale_fits(self, layer: str, key: str, weight: TensorInfo) -> bool:
        scale, rows = self.tensors[key], weight.shape[0]
        one_per_row = scale.shape in ((rows,), (rows, 1)) or scale.shape in ((), (1,), (1, 1))
        if one_per_row and scale.dtype in SCALE_DTYPES:
            return True
        format_name = scale_looks_like(weight, scale)
        shape = list(scale.shape)
        if format_name is not None:
            self._blame(
                key, f"has shape {shape} and dtype {scale.dtype}: the layer looks like {format_name}", WHAT_IS_READ
            )
        elif one_per_row:
            self._blame(key, f"has dtype {scale.dtype}, not a float type", WHAT_IS_READ)
        else:
            self._blame(key, f"has shape {shape}, its weight has {rows} rows and wants [{rows}, 1]", DAMAGED)
        return False

    def _scale_remedy(self, near: str | None) -> str:
        if near or any(key.endswith(SCALES) for key in self.keys):
            return f"Without it the layer gives noise. {DAMAGED}"
        return (
            "Without scales the model gives noise: download the file again. If it was made without any (a plain cast "
            "to 8 bits), load it with ComfyUI's own loader."
        )

    def _nearest(self, layer: str) -> str | None:
        """The key that may be the missing scale under another name; only looked for while there are few missing."""
        if len(self.blamed) > GUESSES:
            return None
        known = (WEIGHT, ".bias", *INPUT_SCALES, MARKER_SUFFIX)
        strange = [
            key
            for key in self.keys
            if not key.endswith(known) and not (key.endswith(SCALES) and self._has_codes(key.rpartition(".")[0]))
        ]
        return next(iter(difflib.get_close_matches(f"{layer}{SCALES[0]}", strange, n=1, cutoff=0.85)), None)

    def _weight(self, layer: str) -> TensorInfo | None:
        return self.tensors.get(f"{layer}{WEIGHT}")

    def _has_codes(self, layer: str) -> bool:
        weight = self._weight(layer)
        return weight is not None and weight.dtype in CODES

    def _plain(self, key: str) -> bool:
        """Whether a key that no sound layer took is a plain tensor; what is neither is a problem, or is ignored."""
        info = self.tensors[key]
        layer, _, end = key.rpartition(".")
        if key in (self.prefix + markers.WHOLE_FILE, markers.WHOLE_FILE, SPIECE) or key.endswith(MARKER_SUFFIX):
            return False
        if key.endswith(INPUT_SCALES) and self._has_codes(layer):
            return False
        if end in ("weight", "qweight") and info.dtype in ("int32", "uint8") and len(info.shape) == 2:
            self._foreign(key, info)
            return False
        if info.dtype not in PLAIN_DTYPES:
            self._foreign(key, info)
            return False
        if COMPANION.fullmatch(key):
            self._companion(layer, key)
            return False
        return True

    def _foreign(self, key: str, info: TensorInfo) -> None:
        siblings = self.siblings[key.rpartition(".")[0]]
        format_name = dtype_looks_like(info.dtype, info, siblings)
        if format_name is not None:
            self._blame(key, f"has dtype {info.dtype}: the layer looks like {format_name}", WHAT_IS_READ)
        elif info.dtype in CODES:
            shape = list(info.shape)
            self._blame(
                key, f"is {info.dtype} of shape {shape}, which is not the weight of a linear layer", WHAT_IS_READ
            )
        else:
            self._blame(key, f"has dtype {info.dtype}, which is not known here", WHAT_IS_READ)

    def _companion(self, layer: str, key: str) -> None:
        if ".affine_norm" in f".{key}":
            self._blame(key, "belongs to a smoothed model (SmoothQuant or AWQ) and would be left out", WHAT_IS_READ)
        elif key.endswith(SCALES) and (weight := self._weight(layer)) is not None:
            self._blame(key, f"is a scale, but its weight is not quantized ({weight.dtype})", DAMAGED)
        elif key.endswith(SCALES):
            self._blame(key, "is a scale without a weight", DAMAGED)
        else:
            self._blame(key, "is part of a quantized layer in a format that is not known here", WHAT_IS_READ)

    def _note_ignored(self) -> None:
        inputs = sum(key.endswith(INPUT_SCALES) for key in self.keys)
        if inputs:
            self.found.notes.append(f"{inputs} static input scales ignored: activations are quantized as they come")
        if any(marker.full_precision for marker in self.markers.values()):
            self.found.notes.append("the markers ask for full-precision matmul: pick a dequant scheme for that")
