"""One scale per row, or one for all: LightX2V's int8 and fp8, and ComfyUI's without a static input scale."""

from .spelling import Part, Spelling
from .values import IGNORED_INPUT, SCALE, scale


def shape(shapes):
    n, k = shapes["codes"]
    return (n, k) if shapes["scale"] in ((), (1,), (1, 1), (n,), (n, 1)) else None


def read(tensors, shape):
    per_row = scale(tensors["scale"]).reshape(-1, 1).expand(shape[0], 1)
    return {"codes": tensors["codes"], "scale": per_row.contiguous()}


def _spelling(name: str, dtype: str, core_mark: str) -> Spelling:
    parts = {"codes": Part(("weight",), (dtype,)), "scale": SCALE}
    return Spelling(name, parts, shape, read, marks=(core_mark, name), ignored=IGNORED_INPUT)


INT8 = _spelling("int8-channel", "int8", "int8_tensorwise")
FP8 = _spelling("fp8-channel", "float8_e4m3fn", "float8_e4m3fn")
