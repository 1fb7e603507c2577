"""Our own kernels, for machines where no library installs: int8, fp8, block-scaled fp8, int4, mxfp4, mxfp6 and fp8 with
float16 sums.

The kernels themselves are in triton_*.py, which are imported when the first of them is about to run.
"""

from types import SimpleNamespace

import torch

from ..formats import ROTATED, ROTATIONS, awq_w4a16, int4_convrot, int8_convrot, w4a8
from .declare import Fused, Product, Quantizer, declare
from .kernel import SIXTEEN_BIT, Requirements
from .libraries import LIBRARIES, Library
from .machine import Machine
from .ops import groups_like, mx_like, tokens_like

INSTALL = {"Linux": "pip install triton", "Windows": "pip install triton-windows"}
PACKAGES = ("triton", "triton-windows")


def _load() -> SimpleNamespace:
    from . import (
        triton_block128,
        triton_gemm,
        triton_mx,
        triton_quantize,
        triton_rotate,
        triton_w4a8,
        triton_weight_only,
    )

    return SimpleNamespace(
        quantize_tokens=triton_quantize.quantize_tokens,
        quantize_token_groups=triton_quantize.quantize_token_groups,
        rotated=triton_rotate.rotated,
        scaled_product=triton_gemm.scaled_product,
        block_product=triton_block128.block_product,
        int4_product=triton_weight_only.int4_product,
        fp8_weight_product=triton_weight_only.fp8_weight_product,
        w4a8_product=triton_w4a8.w4a8_product,
        quantize_blocks=triton_mx.quantize_blocks,
        mx_product=triton_mx.mx_product,
    )


class NewerTriton(Library):
    """Triton, but not before a release: its name is "triton 3.5 or newer"."""

    @property
    def oldest(self) -> tuple[int, ...]:
        return _release(self.name.split()[1])

    def expected(self, machine: Machine) -> bool:
        return super().expected(machine) and (machine.libraries is not None or self._too_old() is None)

    def broken(self) -> str | None:
        return self._too_old() or super().broken()

    def _too_old(self) -> str | None:
        version = self.version()
        if version is not None and _release(version) < self.oldest:
            return f"needs {self.name}, {version} is installed"
        return None


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


TRITON = Library("triton", PACKAGES, ("triton",), _load, INSTALL)
# multiplies fp8 into float16 sums on these GPUs; 3.4 fails or widens the codes to float16
TRITON_F16 = NewerTriton("triton 3.5 or newer", PACKAGES, ("triton",), _load, INSTALL)
# has compute capability 12 multiply scaled codes; before, they become bfloat16
TRITON_MX = NewerTriton("triton 3.6 or newer", PACKAGES, ("triton",), _load, INSTALL)
LIBRARIES.update({row.name: row for row in (TRITON, TRITON_F16, TRITON_MX)})


def _tokens(activation: str, rotation: int = 0) -> Quantizer:
    """Of `activation` "int8", "fp8" or "fp8-reduced"; rotation: of int8, channels that are rotated together."""

    def compute(x, pre_quant_scale=None):
        return TRITON.loaded().quantize_tokens(x, activation, pre_quant_scale, rotation)

    dtype = torch.int8 if activation == "int8" else torch.float8_e4m3fn
    name = int8_convrot.name_of(rotation) if rotation else activation
    return Quantizer(name, compute, lambda x: tokens_like(x, dtype), smooths=True)


def _quantize_groups(x):
    codes, scale = TRITON.loaded().quantize_token_groups(x)
    return codes, scale.t()


def _scaled_mm(product: str) -> Product:
    """`product` "int8", "fp8" or "fp8-f16", which is for codes within +-28 and "fp8-reduced" activations: then no sum
    leaves float16's range."""

    def multiply(quantized, weight, bias, dtype):
        codes, scale = weight.codes.contiguous(), weight.scale.contiguous()
        return TRITON.loaded().scaled_product(*quantized, codes, scale, bias, dtype, product)

    return multiply


def _block_mm(quantized, weight, bias, dtype):
    codes, token_scale = quantized
    multiply = TRITON.loaded().block_product
    return multiply(codes, token_scale.t(), weight.codes.contiguous(), weight.scale.contiguous(), bias, dtype)


def _w4a8_mm(quantized, weight, bias, dtype):
    codes, scale = weight.codes.contiguous().view(torch.uint8), weight.scale.contiguous().view(torch.uint8)
    return TRITON.loaded().w4a8_product(*quantized, codes, scale, weight.s_channel, weight.codebook, bias, dtype)


def _blocks(activation: str, bits: int) -> Quantizer:
    """A scale per 32 channels; `activation` "mxfp8" or "mxfp4"."""

    def compute(x):
        codes, scale = mx_like(x, bits)
        TRITON.loaded().quantize_blocks(x, codes, scale, activation)
        return codes, scale

    return Quantizer(activation, compute, lambda x: mx_like(x, bits))


def _mx_mm(product: str) -> Product:
    """`product` "mxfp4" or "mxfp6"."""

    def multiply(quantized, weight, bias, dtype):
        codes, scale = weight.codes.contiguous(), weight.scale.contiguous()
        return TRITON.loaded().mx_product(*quantized, codes, scale, bias, dtype, weight.shape, product)

    return multiply


def _int4(x, weight, bias):
    """16-bit x."""
    return TRITON.loaded().int4_product(x, weight.codes.contiguous(), weight.scale.contiguous(), bias)


def _rotated(rotation: int) -> Quantizer:
    """Rotates groups of so many channels of 16-bit x, which stay 16-bit: layers that share x rotate it once."""

    def compute(x):
        return (TRITON.loaded().rotated(x, rotation),)

    return Quantizer("float", compute, lambda x: (x.new_empty(x.shape),))


def _int4_mm(rotated, weight, bias, dtype):
    return _int4(*rotated, weight, bias)


def _int4_zeros(group: int) -> Fused:
    """16-bit x; group: the input channels that share a scale and a zero point."""

    def linear(x, weight, bias):
        codes = weight.codes.contiguous().view(torch.uint8)
        scale, zeros = weight.scale.contiguous(), weight.zeros.contiguous()
        return TRITON.loaded().int4_product(x, codes, scale, bias, zeros, group)

    return linear


def _fp8_weight(x, weight, bias):
    """16-bit x."""
    codes = weight.codes.contiguous().view(torch.uint8)
    return TRITON.loaded().fp8_weight_product(x, codes, weight.scale.contiguous(), bias)


def _requires(first: tuple[int, int], last: tuple[int, int] | None = None, **others) -> Requirements:
    return Requirements("cuda", min_capability=first, max_capability=last, **{"library": TRITON.name, **others})


# Not NVIDIA: int8 and the weight-only rows, which need no fp8 of the GPU. Of two rows with one name the later's reason
# is told, so the one with the wider claim comes last.
ROWS = (
    *declare(
        "triton",
        "int8-channel",
        "int8 weights x int8 activations (per-token), scales and bias in the same pass, Triton",
        _requires((8, 0)),
        quantizer=_tokens("int8"),
        product=_scaled_mm("int8"),
    ),
    *(
        kernel
        for group, name in ROTATED.items()
        for kernel in declare(
            "triton",
            name,
            "int8 weights x int8 activations (per-token), rotated in the pass that quantizes them, Triton",
            _requires((8, 0)),
            quantizer=_tokens("int8", group),
            product=_scaled_mm("int8"),
        )
    ),
    *declare(
        "triton",
        "fp8-channel",
        "fp8 weights x fp8 activations (per-token), scales and bias in the same pass, Triton",
        _requires((8, 9), nvidia=True),
        quantizer=_tokens("fp8"),
        product=_scaled_mm("fp8"),
    ),
    *declare(
        "triton",
        "fp8-channel",
        "fp8 weights expanded in registers x 16-bit activations, Triton",
        _requires((8, 0), (8, 8), dtypes=SIXTEEN_BIT),
        fused=_fp8_weight,
    ),
    *declare(
        "triton",
        "fp8-block128",
        "fp8 weights x fp8 activations (per token and 128 channels), Triton",
        _requires((8, 9), nvidia=True),
        quantizer=Quantizer("fp8-group128", _quantize_groups, groups_like),
        product=_block_mm,
    ),
    *declare(
        "triton",
        "int4-g128",
        "int4 weights expanded in registers x 16-bit activations, Triton",
        _requires((8, 0), dtypes=SIXTEEN_BIT),
        fused=_int4,
    ),
    *(
        kernel
        for group in awq_w4a16.GROUPS
        for kernel in declare(
            "triton",
            awq_w4a16.name_of(group),
            "int4 weights with zero points expanded in registers x 16-bit activations, Triton",
            _requires((8, 0), dtypes=SIXTEEN_BIT),
            fused=_int4_zeros(group),
        )
    ),
    *(
        kernel
        for rotation, name in ROTATIONS[int4_convrot.NAME].items()
        for kernel in declare(
            "triton",
            name,
            "int4 weights expanded in registers x 16-bit activations, rotated in a pass before, Triton",
            _requires((8, 0), dtypes=SIXTEEN_BIT),
            quantizer=_rotated(rotation),
            product=_int4_mm,
        )
    ),
    *(
        kernel
        for rotation, name in ROTATIONS[w4a8.NAME].items()
        for kernel in declare(
            "triton",
            name,
            "4-bit weights spread out to int8 x int8 activations (per-token), rotated, Triton",
            _requires((8, 0)),
            quantizer=_tokens("int8", rotation),
            product=_w4a8_mm,
        )
    ),
    *declare(
        "triton",
        "mxfp4",
        "mxfp4 weights x mxfp4 activations (scales of 32 channels), Triton",
        _requires((10, 0), nvidia=True, library=TRITON_MX.name),
        quantizer=_blocks("mxfp4", 4),
        product=_mx_mm("mxfp4"),
    ),
    *declare(
        "triton",
        "mxfp6",
        "mxfp6 weights expanded in registers x mxfp8 activations (scales of 32 channels), Triton",
        _requires((10, 0), nvidia=True, library=TRITON_MX.name),
        quantizer=_blocks("mxfp8", 8),
        product=_mx_mm("mxfp6"),
    ),
    # only these GPUs multiply fp8 twice as fast into float16 sums
    *(
        kernel
        for requires in (
            _requires((12, 0), nvidia=True, library=TRITON_F16.name),
            _requires((8, 9), (8, 9), nvidia=True, library=TRITON_F16.name),
        )
        for kernel in declare(
            "triton-f16",
            "fp8-reduced",
            "fp8 weights x fp8 activations (per-token), float16 sums of 64 products, Triton",
            requires,
            quantizer=_tokens("fp8-reduced"),
            product=_scaled_mm("fp8-f16"),
        )
    ),
)
