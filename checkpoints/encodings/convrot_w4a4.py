"""convrot-w4a4 as ComfyUI stores it: two codes of a rotated row in a byte, a scale per row. Only a marker tells that
they are rotated, in which groups, and how many bits activations get."""

from ...formats.convrot_w4a4 import COLUMNS, CORES, NAME, NAMES
from .encoding import COMFYUI, X2V, Encoding, TensorRole
from .scales import SCALE, same_but_ones, scale

PER_BYTE = 2


def _shape(group: int):
    def shape(shapes):
        n, columns = shapes["codes"]
        k = columns * PER_BYTE
        fits = k % max(group, COLUMNS) == 0 and same_but_ones(shapes["scale"], (n,))
        return (n, k) if fits else None

    return shape


def unpack(tensors, shape):
    return {"codes": tensors["codes"], "scale": scale(tensors["scale"]).reshape(-1, 1)}


def pack(tensors, shape):
    return {"codes": tensors["codes"], "scale": tensors["scale"].flatten()}


ENCODINGS = tuple(
    Encoding(
        name,
        {"codes": TensorRole(("weight",), ("int8",)), "scale": SCALE},
        _shape(group),
        unpack,
        pack,
        (COMFYUI, X2V),
        marks=(CORES, name) if name == NAME else (name,),
        unmarked=False,
    )
    for (group, _), name in NAMES.items()
)
