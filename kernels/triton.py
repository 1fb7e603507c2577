"""Our own kernels, for machines where no library installs: int8, fp8, block-scaled fp8, int4 and fp8 with float16 sums.

The kernels themselves are in triton_*.py, which are imported when the first of them is about to run.
"""

from types import SimpleNamespace

import torch

from .activation import GROUP
from .adapter import multiplied_like
from .kernel import SIXTEEN_BIT, Kernel, Requirements, Steps
from .libraries import LIBRARIES, Library

INSTALL = {"Linux": "pip install triton", "Windows": "pip install triton-windows"}
PACKAGES = ("triton", "triton-windows")
# the first release that multiplies fp8 into float16 sums on these GPUs; 3.4 fails or widens the codes to float16
F16_RELEASE = (3, 5)


def _load() -> SimpleNamespace:
    from . import triton_block128, triton_gemm, triton_quantize, triton_weight_only

    return SimpleNamespace(
        quantize_tokens=triton_quantize.quantize_tokens,
        quantize_token_groups=triton_quantize.quantize_token_groups,
        scaled_product=triton_gemm.scaled_product,
        block_product=triton_block128.block_product,
        weight_only_product=triton_weight_only.weight_only_product,
    )


class NewerTriton(Library):
    """Triton, but not before F16_RELEASE."""

    def broken(self) -> str | None:
        version = self.version()
        if version is not None and tuple(int(part) for part in version.split(".")[:2]) < F16_RELEASE:
            return f"needs {self.name}, {version} is installed"
        return super().broken()


TRITON = Library("triton", PACKAGES, ("triton",), _load, INSTALL)
TRITON_F16 = NewerTriton("triton 3.5 or newer", PACKAGES, ("triton",), _load, INSTALL)
LIBRARIES.update({row.name: row for row in (TRITON, TRITON_F16)})


@torch.library.custom_op("x2v_quant::triton_quantize", mutates_args=())
def triton_quantize(
    x: torch.Tensor, activation: str, pre_quant_scale: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float, `activation` "int8", "fp8" or "fp8-reduced", pre_quant_scale [K] float: multiplies x before the
    scale is taken -> codes [M, K] and scale float32 [M, 1]."""
    if x.shape[0] == 0:
        return x.new_empty(x.shape, dtype=CODES[activation]), x.new_empty((0, 1), dtype=torch.float32)
    return TRITON.loaded().quantize_tokens(x, activation, pre_quant_scale)


@triton_quantize.register_fake
def _(x, activation, pre_quant_scale=None):
    codes = x.new_empty(x.shape, dtype=CODES[activation])
    return codes, x.new_empty((x.shape[0], 1), dtype=torch.float32)


CODES = {"int8": torch.int8, "fp8": torch.float8_e4m3fn, "fp8-reduced": torch.float8_e4m3fn}


@torch.library.custom_op("x2v_quant::triton_scaled_linear", mutates_args=())
def triton_scaled_linear(
    x: torch.Tensor,
    codes: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    activation: str,
    product: str,
    pre_quant_scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """x [M, K] float, codes int8 or float8_e4m3fn [N, K], scale float32 [N, 1], bias [N]; x is multiplied by
    pre_quant_scale [K], quantized per token as `activation` says and multiplied as `product`, "int8", "fp8" or
    "fp8-f16", says -> [M, N] in x.dtype.

    "fp8-f16" is for codes within +-28 and "fp8-reduced" activations: then no sum leaves float16's range.
    """
    if x.shape[0] == 0:
        return x.new_empty((0, codes.shape[0]))
    triton = TRITON.loaded()
    quantized, token_scale = triton.quantize_tokens(x, activation, pre_quant_scale)
    return triton.scaled_product(quantized, token_scale, codes.contiguous(), scale.contiguous(), bias, x.dtype, product)


@triton_scaled_linear.register_fake
def _(x, codes, scale, bias, activation, product, pre_quant_scale=None):
    return x.new_empty((x.shape[0], codes.shape[0]))


@torch.library.custom_op("x2v_quant::triton_scaled_multiply", mutates_args=())
def triton_scaled_multiply(
    quantized: torch.Tensor,
    token_scale: torch.Tensor,
    rows: int,
    dtype: torch.dtype,
    codes: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    product: str,
) -> torch.Tensor:
    """`triton_scaled_linear` of what `triton_quantize` gave."""
    multiply = TRITON.loaded().scaled_product
    return multiply(quantized, token_scale, codes.contiguous(), scale.contiguous(), bias, dtype, product)


triton_scaled_multiply.register_fake(multiplied_like)


@torch.library.custom_op("x2v_quant::triton_quantize_groups", mutates_args=())
def triton_quantize_groups(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float (M > 0) -> codes float8_e4m3fn [M, K], scale float32 [ceil(K / 128), M]."""
    return TRITON.loaded().quantize_token_groups(x)


@triton_quantize_groups.register_fake
def _(x):
    codes = x.new_empty(x.shape, dtype=torch.float8_e4m3fn)
    return codes, x.new_empty((-(-x.shape[1] // GROUP), x.shape[0]), dtype=torch.float32)


@torch.library.custom_op("x2v_quant::triton_block_multiply", mutates_args=())
def triton_block_multiply(
    quantized: torch.Tensor,
    token_scale: torch.Tensor,
    rows: int,
    dtype: torch.dtype,
    codes: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
) -> torch.Tensor:
    """`triton_block_linear` of what `triton_quantize_groups` gave."""
    multiply = TRITON.loaded().block_product
    return multiply(quantized, token_scale, codes.contiguous(), scale.contiguous(), bias, dtype)


triton_block_multiply.register_fake(multiplied_like)


@torch.library.custom_op("x2v_quant::triton_block_linear", mutates_args=())
def triton_block_linear(
    x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """x [M, K] float, codes float8_e4m3fn [N, K], scale float32 [ceil(N / 128), ceil(K / 128)], bias [N] -> [M, N] in
    x.dtype; x is quantized per token and 128 channels."""
    if x.shape[0] == 0:
        return x.new_empty((0, codes.shape[0]))
    triton = TRITON.loaded()
    quantized, token_scale = triton.quantize_token_groups(x)
    return triton.block_product(quantized, token_scale, codes.contiguous(), scale.contiguous(), bias, x.dtype)


@triton_block_linear.register_fake
def _(x, codes, scale, bias):
    return x.new_empty((x.shape[0], codes.shape[0]))


@torch.library.custom_op("x2v_quant::triton_weight_only_linear", mutates_args=())
def triton_weight_only_linear(
    x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, product: str
) -> torch.Tensor:
    """x [M, K] bfloat16 or float16, bias [N] -> [M, N] in x.dtype. `product`: "int4" with codes uint8 [N, K / 2] and
    scale float32 [N, ceil(K / 128)], or "fp8-weight" with codes float8_e4m3fn [N, K] and scale float32 [N, 1]."""
    if x.shape[0] == 0:
        return x.new_empty((0, codes.shape[0]))
    packed = codes.contiguous().view(torch.uint8)
    return TRITON.loaded().weight_only_product(x, packed, scale.contiguous(), bias, product)


@triton_weight_only_linear.register_fake
def _(x, codes, scale, bias, product):
    return x.new_empty((x.shape[0], codes.shape[0]))


def _scaled(activation: str, product: str):
    def linear(x, codes, params, bias):
        return torch.ops.x2v_quant.triton_scaled_linear(x, codes, params.scale, bias, activation, product)

    return linear


def _scaled_smooth(activation: str, product: str):
    def linear(x, codes, params, bias):
        return torch.ops.x2v_quant.triton_scaled_linear(
            x, codes, params.scale, bias, activation, product, params.pre_quant_scale
        )

    return linear


def _scaled_steps(activation: str, product: str) -> dict[str, Steps]:
    def multiply(given, rows, dtype, codes, params, bias):
        return torch.ops.x2v_quant.triton_scaled_multiply(*given, rows, dtype, codes, params.scale, bias, product)

    def smooth(x, params):
        return torch.ops.x2v_quant.triton_quantize(x, activation, params.pre_quant_scale)

    return {
        "steps": Steps(lambda x, params: torch.ops.x2v_quant.triton_quantize(x, activation), multiply),
        "smooth_steps": Steps(smooth, multiply, ("pre_quant_scale",)),
    }


def _block_multiply(given, rows, dtype, codes, params, bias):
    return torch.ops.x2v_quant.triton_block_multiply(*given, rows, dtype, codes, params.scale, bias)


def _block(x, codes, params, bias):
    return torch.ops.x2v_quant.triton_block_linear(x, codes, params.scale, bias)


def _weight_only(product: str):
    def linear(x, codes, params, bias):
        return torch.ops.x2v_quant.triton_weight_only_linear(x, codes, params.scale, bias, product)

    return linear


def _requires(first: tuple[int, int], last: tuple[int, int] | None = None, **others) -> Requirements:
    return Requirements("cuda", min_capability=first, max_capability=last, **{"library": TRITON.name, **others})


_F16_SUMMARY = "fp8 weights x fp8 activations (per-token), float16 sums of 64 products, Triton"

# Not NVIDIA: int8 and the weight-only rows, which need no fp8 of the GPU. Of two rows with one name the later's reason
# is told, so the one with the wider claim comes last.
ROWS = (
    Kernel(
        "triton",
        ("int8-channel",),
        _scaled("int8", "int8"),
        "int8",
        "int8 weights x int8 activations (per-token), scales and bias in the same pass, Triton",
        _requires((8, 0)),
        _scaled_smooth("int8", "int8"),
        **_scaled_steps("int8", "int8"),
    ),
    Kernel(
        "triton",
        ("fp8-channel",),
        _scaled("fp8", "fp8"),
        "fp8",
        "fp8 weights x fp8 activations (per-token), scales and bias in the same pass, Triton",
        _requires((8, 9), nvidia=True),
        _scaled_smooth("fp8", "fp8"),
        **_scaled_steps("fp8", "fp8"),
    ),
    Kernel(
        "triton",
        ("fp8-channel",),
        _weight_only("fp8-weight"),
        "float",
        "fp8 weights expanded in registers x 16-bit activations, Triton",
        _requires((8, 0), (8, 8), dtypes=SIXTEEN_BIT),
    ),
    Kernel(
        "triton",
        ("fp8-block128",),
        _block,
        "fp8-group128",
        "fp8 weights x fp8 activations (per token and 128 channels), Triton",
        _requires((8, 9), nvidia=True),
        steps=Steps(lambda x, params: torch.ops.x2v_quant.triton_quantize_groups(x), _block_multiply),
    ),
    Kernel(
        "triton",
        ("int4-g128",),
        _weight_only("int4"),
        "float",
        "int4 weights expanded in registers x 16-bit activations, Triton",
        _requires((8, 0), dtypes=SIXTEEN_BIT),
    ),
    # only these GPUs multiply fp8 twice as fast into float16 sums
    Kernel(
        "triton-f16",
        ("fp8-reduced",),
        _scaled("fp8-reduced", "fp8-f16"),
        "fp8-reduced",
        _F16_SUMMARY,
        _requires((12, 0), nvidia=True, library=TRITON_F16.name),
        _scaled_smooth("fp8-reduced", "fp8-f16"),
        **_scaled_steps("fp8-reduced", "fp8-f16"),
    ),
    Kernel(
        "triton-f16",
        ("fp8-reduced",),
        _scaled("fp8-reduced", "fp8-f16"),
        "fp8-reduced",
        _F16_SUMMARY,
        _requires((8, 9), (8, 9), nvidia=True, library=TRITON_F16.name),
        _scaled_smooth("fp8-reduced", "fp8-f16"),
        **_scaled_steps("fp8-reduced", "fp8-f16"),
    ),
)
