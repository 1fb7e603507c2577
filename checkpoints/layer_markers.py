"""The markers of a file's layers, from tensors and from the header, and whether a layer is what its marker says."""

from collections.abc import Mapping

from . import markers
from .encodings import MARKS
from .errors import Problem
from .tensor_info import MARKER_SUFFIX, MARKER_SUFFIXES, WEIGHT, Contents, TensorInfo
from .unwrapping import layer_names

DAMAGED = "The file is damaged or mixed from two models: download it again."

Infos = Mapping[str, TensorInfo]


def read_markers(
    contents: Contents, tensors: Infos, prefix: str
) -> tuple[dict[str, markers.Marker], list[Problem], list[str]]:
    """(layer -> its marker, what is wrong with the header's, notes). tensors: those of the model, which has `prefix`
    before its names."""
    found: dict[str, markers.Marker] = {}
    # ComfyUI's own marker counts where there are both
    for key in sorted(contents.markers.keys() & tensors.keys(), key=lambda key: key.endswith(MARKER_SUFFIX)):
        found[key.rpartition(".")[0]] = markers.from_tensor(key, contents.markers[key], tensors[key].dtype)
    text = contents.metadata.get(markers.HEADER_KEY)
    if text is None:
        return found, [], []
    table = markers.from_header(text)
    if table is None:
        file = next(iter(tensors.values())).file.name
        return found, [Problem(file, markers.HEADER_KEY, "is no JSON table of layers", DAMAGED)], []
    absent = []
    for name, called in layer_names(table, contents, prefix).items():
        layers = [one for one in called if f"{one}{WEIGHT}" in tensors]
        if layers:
            found.setdefault(layers[0], table[name])
        else:
            absent.append(name)
    notes = [f"the header marks {len(absent)} layers that are not in the file: {absent[0]}, ..."] if absent else []
    return found, [], notes


def fault_of(layer: str, marker: markers.Marker, tensors: Infos) -> tuple[str, str, str] | None:
    """(key, cause, remedy) of a layer that its marker does not fit, None if it does."""
    key = f"{layer}{WEIGHT}"
    weight = tensors.get(key)
    if weight is None:
        mark = next(layer + end for end in MARKER_SUFFIXES if layer + end in tensors)
        return mark, "marks a layer that has no weight", DAMAGED
    if marker.fault:
        return key, marker.fault, marker.remedy
    if weight.dtype not in MARKS[marker.format]:
        return key, f"is {weight.dtype} but marked as {marker.format}", DAMAGED
    if marker.group and len(weight.shape) == 2 and weight.shape[1] % marker.group:
        cause = f"has {weight.shape[1]} input channels, which groups of {marker.group} do not divide"
        return key, f"{cause} (convrot_groupsize)", markers.AGAIN
    return None
