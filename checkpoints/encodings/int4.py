"""int4-g128 as it is in memory: two codes of a row in a byte, a scale per row and group of columns."""

import math
from functools import partial

from ...formats import ROTATIONS, int4_convrot
from ...formats.int4_group128 import GROUP
from .encoding import LIGHTX2V, X2V, Encoding, TensorRole, unchanged
from .scales import SCALE, same_but_ones, signed_scale

PER_BYTE = 2


def shape(shapes, group=GROUP, rotation=1):
    n, columns = shapes["codes"]
    k = columns * PER_BYTE
    fits = same_but_ones(shapes["scale"], (n, math.ceil(k / group))) and k % rotation == 0
    return (n, k) if fits else None


def unpack(tensors, shape):
    return {"codes": tensors["codes"], "scale": signed_scale(tensors["scale"]).reshape(shape[0], -1)}


def _encoding(
    format_name: str, group: int, dialects: tuple[str, ...], marks: tuple[str, ...], rotation: int = 1, **others
) -> Encoding:
    tensors = {"codes": TensorRole(("weight",), ("uint8",)), "scale": SCALE}
    others |= {"marks": marks, "multiples": (1, rotation)}
    return Encoding(
        format_name, tensors, partial(shape, group=group, rotation=rotation), unpack, unchanged, dialects, **others
    )


PLAIN = _encoding("int4-g128", GROUP, (LIGHTX2V, X2V), ("int4-g128",))
ENCODINGS = (
    PLAIN,
    # a marker alone tells that it is rotated
    *(
        _encoding(name, GROUP, (X2V,), (name,), rotation, unmarked=False)
        for rotation, name in ROTATIONS[int4_convrot.NAME].items()
    ),
)
