"""The torch ops of this pack: every schema, its fake for graphs, and what the fakes check.

`linear` computes a layer in one call; `quantize` and `multiply` are its two halves, for layers that get the same x. The
last argument says which kernel computes it, so a new kernel adds no op. The reference implementation of the three is
kernel "reference" (reference.py), which computes every format in plain torch.
"""

from typing import Any

import torch

from ..formats.fp8_block128 import BLOCK
from ..formats.mx import BLOCK as MX_BLOCK

# x: [M, K] float; weight: the tensors of its format, in their order; shape: the weight's (N, K); bias: [N] float
LINEAR = "(Tensor x, Tensor[] weight, SymInt[] shape, Tensor? bias, str kernel) -> Tensor"
# x: [M, K] float with M > 0; read: tensors of the weight that x is quantized with -> what `multiply` takes
QUANTIZE = "(Tensor x, Tensor[] read, str kernel) -> Tensor[]"
# rows: M; dtype: that of x
MULTIPLY = (
    "(Tensor[] quantized, SymInt rows, ScalarType dtype, Tensor[] weight, SymInt[] shape, Tensor? bias, str kernel)"
    " -> Tensor"
)

# a name for the ops' last argument -> its declare.Computation
COMPUTATIONS: dict[str, Any] = {}


def add(name: str, computation: Any) -> str:
    """Make `computation` known by `name`, with a number behind it if the name is taken -> that name. A second import of
    the package gives the same names, so that its ops serve the kernels of the first."""
    taken = sum(1 for known in COMPUTATIONS if known == name or known.startswith(f"{name} #"))
    key = f"{name} #{taken + 1}" if taken else name
    COMPUTATIONS[key] = computation
    return key


@torch.library.custom_op("x2v_quant::linear", mutates_args=(), schema=LINEAR)
def linear(x, weight, shape, bias, kernel):
    """[M, N] in x.dtype; M may be 0."""
    return COMPUTATIONS[kernel].linear(x, weight, shape, bias)


@linear.register_fake
def _(x, weight, shape, bias, kernel):
    torch._check(x.dim() == 2, lambda: f"x is [M, K], not {list(x.shape)}")
    torch._check(x.dtype.is_floating_point, lambda: f"x is float, not {x.dtype}")
    torch._check(x.shape[1] == shape[1], lambda: f"x has {x.shape[1]} channels, the weight is {list(shape)}")
    _check_weight(weight, shape, bias, kernel)
    return x.new_empty((x.shape[0], shape[0]))


@torch.library.custom_op("x2v_quant::quantize", mutates_args=(), schema=QUANTIZE)
def quantize(x, read, kernel):
    """Tensors of the shapes, strides and dtypes that the `like` of the kernel's quantizer gives."""
    return COMPUTATIONS[kernel].quantize(x, read)


@quantize.register_fake
def _(x, read, kernel):
    torch._check(x.dim() == 2, lambda: f"x is [M, K], not {list(x.shape)}")
    torch._check(x.dtype.is_floating_point, lambda: f"x is float, not {x.dtype}")
    names = COMPUTATIONS[kernel].reads
    torch._check(len(read) == len(names), lambda: f"{kernel} reads {names}, {len(read)} tensors were given")
    return list(COMPUTATIONS[kernel].quantizer.like(x))


@torch.library.custom_op("x2v_quant::multiply", mutates_args=(), schema=MULTIPLY)
def multiply(quantized, rows, dtype, weight, shape, bias, kernel):
    """[rows, N] in `dtype`: what `linear` gives, bit for bit."""
    return COMPUTATIONS[kernel].multiply(quantized, rows, dtype, weight, shape, bias)


@multiply.register_fake
def _(quantized, rows, dtype, weight, shape, bias, kernel):
    torch._check(quantized[0].shape[0] >= rows, lambda: f"{quantized[0].shape[0]} tokens are quantized, not {rows}")
    torch._check(dtype.is_floating_point, lambda: f"the output is float, not {dtype}")
    _check_weight(weight, shape, bias, kernel)
    return quantized[0].new_empty((rows, shape[0]), dtype=dtype)


def _check_weight(weight, shape, bias, kernel):
    names = COMPUTATIONS[kernel].tensors
    torch._check(len(weight) == len(names), lambda: f"{kernel} takes {names}, {len(weight)} tensors were given")
    torch._check(weight[0].dim() == 2, lambda: f"codes have 2 dimensions, not {weight[0].dim()}")
    if bias is not None:
        torch._check(bias.dim() == 1 and bias.shape[0] == shape[0], lambda: f"bias is [{shape[0]}], not {bias.shape}")
        torch._check(bias.dtype.is_floating_point, lambda: f"bias is float, not {bias.dtype}")


# What quantizers give for x [M, K], for graphs and as memory to write to. M' is M rounded up to a multiple.


def tokens_like(x: torch.Tensor, dtype: torch.dtype, pad_rows: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """A scale per token: codes [M', K] of `dtype`, scale float32 [M', 1]."""
    rows = rounded_up(x.shape[0], pad_rows)
    return x.new_empty((rows, x.shape[1]), dtype=dtype), x.new_empty((rows, 1), dtype=torch.float32)


def groups_like(x: torch.Tensor, pad_rows: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """A scale per token and 128 channels: codes float8_e4m3fn [M', K], scale float32 [M', ceil(K / 128)] with
    contiguous columns."""
    rows, groups = rounded_up(x.shape[0], pad_rows), -(-x.shape[1] // BLOCK)
    codes = x.new_empty((rows, x.shape[1]), dtype=torch.float8_e4m3fn)
    return codes, x.new_empty((groups, rows), dtype=torch.float32).t()


def tensor_like(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One scale: codes float8_e4m3fn [M, K], scale float32 [1]."""
    return x.new_empty(x.shape, dtype=torch.float8_e4m3fn), x.new_empty((1,), dtype=torch.float32)


def mxfp8_like(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A scale per 32 channels, M' a multiple of 32: codes float8_e4m3fn [M', K], scale float8_e8m0fnu in cuBLAS's
    order."""
    rows = rounded_up(x.shape[0], 32)
    codes = x.new_empty((rows, x.shape[1]), dtype=torch.float8_e4m3fn)
    return codes, _swizzled_like(x, rows, 32, torch.float8_e8m0fnu)


def nvfp4_like(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A scale per 16 channels and one of all, M' a multiple of 16: codes uint8 [M', K / 2], block scale float8_e4m3fn
    in cuBLAS's order, scale float32 []."""
    rows = rounded_up(x.shape[0], 16)
    codes = x.new_empty((rows, x.shape[1] // 2), dtype=torch.uint8)
    scale = x.new_empty((), dtype=torch.float32)
    return codes, _swizzled_like(x, rows, 16, torch.float8_e4m3fn), scale


def mx_like(x: torch.Tensor, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A scale per 32 channels, K a multiple of them: codes of 8 bits, float8_e4m3fn [M, K], or 4, uint8 [M, K / 2], and
    scale uint8 [M, K / 32], powers of two as formats/mx.py has them."""
    rows, width = x.shape
    dtype, per_byte = (torch.float8_e4m3fn, 1) if bits == 8 else (torch.uint8, 2)
    codes = x.new_empty((rows, width // per_byte), dtype=dtype)
    return codes, x.new_empty((rows, width // MX_BLOCK), dtype=torch.uint8)


def values_like(x: torch.Tensor) -> tuple[torch.Tensor]:
    """No codes: the quantized values themselves, float32 [M, K]."""
    return (x.new_empty(x.shape, dtype=torch.float32),)


def _swizzled_like(x, rows, group, dtype):
    # cuBLAS's order: tiles of 128 x 4 scales
    return x.new_empty((rounded_up(rows, 128), rounded_up(x.shape[1] // group, 4)), dtype=dtype)


def rounded_up(number: int, multiple: int) -> int:
    """The smallest multiple that is not below `number`."""
    return -(-number // multiple) * multiple
