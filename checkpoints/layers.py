"""Which tensors are quantized linear layers, and everything that is wrong with them, from names, shapes and types."""

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import affine_norm, layer_notes, markers, unscaled
from .encodings import CODES, INPUT_SCALES, SCALE_OF, SCALES, WHAT_IS_READ, Match, find, told_apart, undecided
from .encodings.channel import UNSCALED
from .encodings.scales import FLOATS
from .errors import Problem
from .foreign import OTHER_NAME, WEIGHT_SCALE, codes_look_like, meaning, scale_by_another_name, scale_looks_like
from .layer_markers import DAMAGED, fault_of, read_markers
from .plain_values import INTEGERS, is_no_weight
from .stored import StoredLayer, codes_of
from .tensor_info import MARKER_SUFFIX, MARKER_SUFFIXES, SPIECE, WEIGHT, Contents, TensorInfo
from .unscaled import FP8

PLAIN_DTYPES = (*FLOATS, *INTEGERS)
# what a plain tensor of the same name never is
CODES_ONLY = ("int8", *FP8)

# tensors that belong to a quantized weight and change what it means: never to be passed over
COMPANION = re.compile(
    r".*workspace|.*_scale_inv"
    r"|(.*\.)?(weight_(?!g$|v$|norm).+|scale_weight.*|(pre_quant|smooth|act|input|output|q|k|v)_(scale|inv_scale|global_scale)"
    r"|scale_(input|output)|(weight_)?zero_points?|qweight|qzeros|scales|g_idx|absmax|quant_map|quant_state.*"
    r"|smooth(ing)?_factor|svd_(up|down)|proj_(up|down)_lora)|(.*\.)?affine_norm\d+\..+"
)
GUESSES = 16

ALIKE = "may be {}: so narrow a layer has the same tensors in each, and nothing in the file tells"


@dataclass
class Findings:
    """`consumed`: every key that is no plain tensor, whether its layer is sound or not. `folded`: key of an unquantized
    weight -> the affine_norm whose factor it is to be multiplied by. `aloud`: those of `notes` that loading
    tells too."""

    layers: list[StoredLayer] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    aloud: list[str] = field(default_factory=list)
    consumed: set[str] = field(default_factory=set)
    folded: dict[str, affine_norm.AffineNorm] = field(default_factory=dict)


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
        self.markers, self.found.problems, self.found.notes = read_markers(contents, self.tensors, prefix)
        self.unscaled = unscaled.find_unscaled(self.siblings, self.markers)
        self.usual = told_apart(of for layer, of in self.siblings.items() if layer not in self.markers)

    def run(self) -> Findings:
        for layer, marker in self.markers.items():
            fault = fault_of(layer, marker, self.tensors)
            if fault is not None:
                self._blame(*fault)
        for key in self.keys:
            layer = codes_of(key, self.tensors[key])
            if layer is not None and key not in self.found.consumed:
                self._layer(layer, key)
        self._smooth()
        # weights first, so that an odd layer is blamed on its weight, not on the scale beside it
        for key in sorted(self.keys, key=lambda key: key.rpartition(".")[2] not in CODES):
            if key not in self.found.consumed and not self._plain(key):
                self.found.consumed.add(key)
        upcast = sum(self.tensors[key].dtype in FP8 for key in self.keys if key not in self.found.consumed)
        self.found.aloud += unscaled.notes(self.found.layers, upcast)
        self.found.notes += [*layer_notes.notes(self.found.layers, self.found.folded, self.markers), *self.found.aloud]
        return self.found

    def _smooth(self) -> None:
        """Give LightCompress' affine_norms to the layers behind them."""
        attached = affine_norm.attach(self.tensors, self.found.layers, self.found.consumed)
        self.found.layers, self.found.folded = attached.layers, attached.folded
        self.found.consumed |= attached.consumed
        self.found.problems += attached.problems

    def _blame(self, key: str, cause: str, remedy: str) -> None:
        layer = key.rpartition(".")[0]
        if layer not in self.blamed or not layer:
            self.blamed.add(layer)
            self.found.problems.append(Problem(self.tensors[key].file.name, key, cause, remedy))

    def _layer(self, layer: str, key: str) -> None:
        """Take the layer whose codes are `key`, or blame it; an int32 or uint8 tensor that only might be codes and has
        nothing of a layer beside it is left to the search for plain ones."""
        siblings, marker, weight = self.siblings[layer], self.markers.get(layer), self.tensors[key]
        if layer in self.unscaled.layers:
            self.found.consumed.add(key)
            self.found.layers.append(StoredLayer(layer, UNSCALED[weight.dtype], {"codes": key}, (), weight.shape))
        if layer in self.unscaled.layers or key in self.unscaled.plain:
            return
        told = (marker.format, marker.shape, (), marker.group_size) if marker else (None, (), self.usual)
        hit = find(siblings, *told)
        if hit is None and weight.dtype not in CODES_ONLY:
            return
        self.found.consumed.add(key)
        if hit is not None:
            self.found.consumed.update(f"{layer}.{end}" for end in hit.ends.values())
        else:
            self.found.consumed.update([f"{layer}.{end}" for end in SCALES if end in siblings][:1])
        if layer in self.blamed:
            return
        if hit is None or hit.missing:
            self._unread(layer, key, hit)
        elif marker is None and (alike := undecided(siblings, self.usual)):
            self._blame(key, ALIKE.format(" or ".join(alike)), markers.IN_COMFYUI)
        elif (second := self._second(hit, siblings)) is not None:
            end, first = second
            self._blame(f"{layer}.{end}", f"is a second scale beside {layer}.{first}", DAMAGED)
        elif marker and marker.shape and not hit.encoding.padded and marker.shape != hit.shape:
            told, found = list(marker.shape), list(hit.shape)
            self._blame(key, f"is marked as {told} (orig_shape), but its tensors make {found}", DAMAGED)
        elif (odd := self._odd_input(hit, siblings)) is not None:
            shape, dtype = list(siblings[odd].shape), siblings[odd].dtype
            self._blame(f"{layer}.{odd}", f"has shape {shape} and dtype {dtype}, not that of an input scale", DAMAGED)
        else:
            keys = {role: f"{layer}.{end}" for role, end in hit.ends.items()}
            ignored = tuple(f"{layer}.{end}" for end in hit.encoding.ignored if f"{layer}.{end}" not in keys.values())
            ignored = tuple(other for other in ignored if other in self.tensors)
            self.found.consumed.update(ignored)
            self.found.layers.append(StoredLayer(layer, hit.encoding, keys, ignored, hit.shape))

    def _second(self, hit: Match, siblings: dict[str, TensorInfo]) -> tuple[str, str] | None:
        """(a tensor that does what another one does, that other one), by the end of their names."""
        for role, tensor in hit.encoding.tensors.items():
            others = [end for end in tensor.ends if end in siblings and end != hit.ends.get(role)]
            if others:
                return others[0], hit.ends[role]
        return None

    def _odd_input(self, hit: Match, siblings: dict[str, TensorInfo]) -> str | None:
        """An input scale that would be passed over and is none: neither one value nor one per row or column."""
        ignored = (end for end in INPUT_SCALES if end in siblings and end not in hit.ends.values())
        sizes = (0, 1, *hit.shape)
        odd = (
            end for end in ignored if math.prod(siblings[end].shape) not in sizes or siblings[end].dtype not in FLOATS
        )
        return next(odd, None)

    def _unread(self, layer: str, key: str, hit: Match | None) -> None:
        """Blame a layer for the tensor that is missing, or for what it has instead."""
        weight, marker = self.tensors[key], self.markers.get(layer)
        scales = [f"{layer}.{end}" for end in SCALES if end in self.siblings[layer]]
        if hit is not None and hit.missing[0] not in SCALES:
            self._blame(key, f"has no {hit.missing[0]}, which {hit.encoding.format} layers have", DAMAGED)
        elif marker and SCALE_OF[marker.format] not in SCALES:
            cause = f"does not go with the other tensors of its layer, marked as {marker.format}"
            self._blame(key, cause, markers.AGAIN_IN_4)
        elif not scales and (other := scale_by_another_name(self.siblings[layer])):
            self._blame(f"{layer}.{other}", OTHER_NAME, WEIGHT_SCALE)
        elif not scales:
            near = self._nearest(layer)
            words = f" (the nearest name in the file is {near})" if near else ""
            self._blame(key, f"has no scale{words}", self._scale_remedy(near))
        elif len(scales) > 1:
            self._blame(scales[1], f"is a second scale beside {scales[0]}", DAMAGED)
        elif marker:
            scale = self.tensors[scales[0]]
            cause = f"has shape {list(scale.shape)} and dtype {scale.dtype}, its weight {list(weight.shape)} is"
            like = scale_looks_like(weight, scale) if scale.dtype in FLOATS else None
            words = f", but looks like {like}" if like else ""
            self._blame(scales[0], f"{cause} marked as {marker.format}{words}", WHAT_IS_READ if like else DAMAGED)
        else:
            self._odd_scale(scales[0], weight)

    def _odd_scale(self, key: str, weight: TensorInfo) -> None:
        scale, rows = self.tensors[key], weight.shape[0]
        shape = list(scale.shape)
        format_name = scale_looks_like(weight, scale)
        if 0 in weight.shape:
            self._blame(key, f"has a weight of shape {list(weight.shape)}, which is empty", DAMAGED)
        elif format_name is not None:
            cause = f"has shape {shape} and dtype {scale.dtype}: the layer looks like {format_name}"
            self._blame(key, cause, WHAT_IS_READ)
        elif scale.dtype not in FLOATS:
            self._blame(key, f"has dtype {scale.dtype}, not a float type", WHAT_IS_READ)
        else:
            self._blame(key, f"has shape {shape}, its weight has {rows} rows and wants [{rows}, 1]", DAMAGED)

    def _scale_remedy(self, near: str | None) -> str:
        if near or any(key.rpartition(".")[2] in SCALES for key in self.keys):
            return f"Without it the layer gives noise. {DAMAGED}"
        return "Without scales the model gives noise: download the file again."

    def _nearest(self, layer: str) -> str | None:
        """The key that may be the missing scale under another name; only looked for while there are few missing."""
        if len(self.blamed) > GUESSES:
            return None
        strange = []
        for key in self.keys:
            name, _, end = key.rpartition(".")
            if end not in ("weight", "bias", *INPUT_SCALES, MARKER_SUFFIX[1:]) and not (
                end in SCALES and self._has_codes(name)
            ):
                strange.append(key)
        return next(iter(difflib.get_close_matches(f"{layer}.{SCALES[0]}", strange, n=1, cutoff=0.85)), None)

    def _weight(self, layer: str) -> TensorInfo | None:
        return self.tensors.get(f"{layer}{WEIGHT}")

    def _has_codes(self, layer: str) -> bool:
        weight = self._weight(layer)
        return weight is not None and weight.dtype in CODES_ONLY

    def _plain(self, key: str) -> bool:
        """Whether a key that no sound layer took is a plain tensor; what is neither is a problem, or is ignored."""
        info = self.tensors[key]
        layer, _, end = key.rpartition(".")
        if key in (self.prefix + markers.WHOLE_FILE, markers.WHOLE_FILE, SPIECE) or key.endswith(MARKER_SUFFIXES):
            return False
        if end in INPUT_SCALES and self._has_codes(layer):
            return False
        if info.dtype in FP8 and self._is_cast(key):
            return True
        packed = end in CODES and info.dtype in ("int32", "uint8") and len(info.shape) == 2
        if packed or info.dtype not in PLAIN_DTYPES:
            self._foreign(key, info)
            return False
        if COMPANION.fullmatch(key):
            self._companion(layer, key)
            return False
        if is_no_weight(key, info):
            self._blame(key, f"has dtype {info.dtype}, which no unquantized weight, norm or bias has", DAMAGED)
            return False
        return True

    def _is_cast(self, key: str) -> bool:
        """Whether an fp8 tensor is a plain one that was cast: a weight that is found to be, and what is no weight."""
        layer, _, end = key.rpartition(".")
        if end == "weight" and (len(self.tensors[key].shape) == 2 or self.siblings[layer].keys() & set(SCALES)):
            return key in self.unscaled.plain
        return not COMPANION.fullmatch(key)

    def _foreign(self, key: str, info: TensorInfo) -> None:
        layer, _, end = key.rpartition(".")
        siblings = self.siblings[layer]
        format_name = codes_look_like(end, info, siblings) if info.dtype not in CODES_ONLY else None
        if "weight_zero_point" in siblings or "weight_zeros" in siblings:
            format_name = "asymmetric int4 (with zero points)"
        marker = self.markers.get(layer)
        if marker and marker.format:
            self._blame(key, f"has a scale that does not go with it, marked as {marker.format}", DAMAGED)
        elif format_name is not None:
            self._blame(key, f"has dtype {info.dtype}: the layer looks like {format_name}", WHAT_IS_READ)
        elif info.dtype in CODES_ONLY:
            shape = list(info.shape)
            self._blame(
                key, f"is {info.dtype} of shape {shape}, which is not the weight of a linear layer", WHAT_IS_READ
            )
        else:
            self._blame(key, f"has dtype {info.dtype}, which is not known here", WHAT_IS_READ)

    def _companion(self, layer: str, key: str) -> None:
        end = key.rpartition(".")[2]
        weight = self._weight(layer)
        if ".affine_norm" in f".{key}":
            self._blame(key, "belongs to a smoothed model (SmoothQuant or AWQ) and would be left out", WHAT_IS_READ)
        elif end in SCALES and weight is not None:
            self._blame(key, f"is a scale, but its weight is not quantized ({weight.dtype})", DAMAGED)
        elif end in SCALES:
            self._blame(key, "is a scale without a weight", DAMAGED)
        else:
            words = meaning(key) or "is part of a quantized layer in a format that is not known here"
            self._blame(key, words, WHAT_IS_READ)
