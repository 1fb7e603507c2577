"""From what a kernel declares, a quantizer and a product, to the Kernel that is chosen: `linear` and its two steps."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import torch

from ..formats import FORMATS, SMOOTHED
from ..formats.smooth import END
from . import ops
from .kernel import ANYWHERE, Kernel, Requirements, Steps


@dataclass(frozen=True)
class Quantizer:
    """How activations are quantized.

    activation: what x becomes, a name in activation.SIMULATED.
    compute: (x [M, K] float, contiguous, M > 0, then the tensors named in `reads`) -> the quantized activations, in
    memory of their own.
    like: x -> empty tensors of the same shapes, strides and dtypes (ops.py has them).
    reads: names of tensors of the weight.
    smooths: `compute` also takes a last argument pre_quant_scale, float32 [K] or left out, and multiplies x by it in
    the same pass.
    """

    activation: str
    compute: Callable[..., tuple[torch.Tensor, ...]]
    like: Callable[[torch.Tensor], tuple[torch.Tensor, ...]]
    reads: tuple[str, ...] = ()
    smooths: bool = False


# (quantized activations, weight, bias, dtype of x) -> [at least M, N] in that dtype
Product = Callable[[list[torch.Tensor], SimpleNamespace, torch.Tensor | None, torch.dtype], torch.Tensor]
# (x [M, K] contiguous with M > 0, weight, bias) -> [M, N] in x.dtype
Fused = Callable[[torch.Tensor, SimpleNamespace, torch.Tensor | None], torch.Tensor]


def declare(
    name: str,
    format_name: str,
    summary: str,
    requires: Requirements = ANYWHERE,
    *,
    quantizer: Quantizer | None = None,
    product: Product | None = None,
    fused: Fused | None = None,
    activation: str = "float",
    bias_like_x: bool = False,
    with_smoothed: bool = True,
    for_tests: bool = False,
    alias: str = "",
) -> tuple[Kernel, ...]:
    """The kernel called `name` for weights of `format_name`, and with it the one for the smoothed format, if there is
    one and `with_smoothed`.

    quantizer, product: x is quantized, then multiplied. Layers that share an input quantize it once.
    fused: in their place, does both in one call, or multiplies x as it is.
    activation: what `fused` multiplies x as, a name in activation.SIMULATED.
    bias_like_x: the bias is rounded to the dtype of x first; without it it may be of any float dtype.
    for_tests, alias: as in Kernel.

    `product` and `fused` get a weight with the tensors of its format as attributes (weight.codes, weight.scale) and
    weight.shape, (N, K); a bias is [N], contiguous, or None. In a smoothed format x is multiplied by weight's
    pre_quant_scale in the pass of the quantizer, if that can, else in one before it, rounded to the dtype of x.
    """

    def kernel(format_name: str, activation: str) -> Kernel:
        stored = FORMATS[format_name]
        smooth = stored.smooth and with_smoothed
        computation = Computation(stored.tensors, quantizer, product, fused, bias_like_x, smooth)
        return _kernel(name, stored, activation, summary, requires, computation, for_tests, alias)

    activation = quantizer.activation if quantizer else activation
    kernels = [kernel(format_name, activation)]
    if with_smoothed and format_name in SMOOTHED:
        # a kernel that does not quantize x multiplies it with the weight itself, whatever it does inside
        kernels.append(kernel(SMOOTHED[format_name], activation if activation == "float" else f"{activation}{END}"))
    return tuple(kernels)


def _kernel(name, stored, activation, summary, requires, computation, for_tests, alias) -> Kernel:
    key, parts, reads = ops.add(f"{name} {stored.name}", computation), stored.parts, computation.reads

    def linear(x, codes, params, bias):
        return torch.ops.x2v_quant.linear(x, parts(codes, params), params.orig_shape, bias, key)

    def quantize(x, params):
        return torch.ops.x2v_quant.quantize(x, [getattr(params, each) for each in reads], key)

    def multiply(quantized, rows, dtype, codes, params, bias):
        weight = parts(codes, params)
        return torch.ops.x2v_quant.multiply(quantized, rows, dtype, weight, params.orig_shape, bias, key)

    steps = Steps(quantize, multiply, reads) if computation.quantizer else None
    return Kernel(name, stored.name, linear, activation, summary, requires, steps, for_tests, alias)


@dataclass(frozen=True)
class Computation:
    """What the ops run for one kernel and format. `tensors`: names of the weight's tensors, in the order in which the
    ops take them; `smooth`: x is multiplied by the weight's pre_quant_scale, of which `product` and `fused` know
    nothing; the others as in `declare`."""

    tensors: tuple[str, ...]
    quantizer: Quantizer | None
    product: Product | None
    fused: Fused | None
    bias_like_x: bool
    smooth: bool

    @property
    def reads(self) -> tuple[str, ...]:
        """The tensors of the weight that x is quantized with."""
        reads = self.quantizer.reads if self.quantizer else ()
        return (*reads, "pre_quant_scale") if self.smooth else reads

    def linear(self, x, tensors, shape, bias):
        rows, columns = x.shape[0], shape[0]
        if rows * columns == 0:
            return x.new_empty((rows, columns))
        weight = self._weight(tensors, shape)
        if self.fused is None:
            quantized = self.quantize(x, [getattr(weight, name) for name in self.reads])
            return self._product(quantized, rows, x.dtype, weight, bias)
        x = smoothed(x, weight.pre_quant_scale) if self.smooth else x.contiguous()
        return self.fused(x, weight, self._bias(bias, x.dtype))

    def quantize(self, x, read):
        if self.smooth and not self.quantizer.smooths:
            *read, pre_quant_scale = read
            x = smoothed(x, pre_quant_scale)
        return list(self.quantizer.compute(x.contiguous(), *read))

    def multiply(self, quantized, rows, dtype, tensors, shape, bias):
        return self._product(quantized, rows, dtype, self._weight(tensors, shape), bias)

    def _product(self, quantized, rows, dtype, weight, bias):
        y = self.product(quantized, weight, self._bias(bias, dtype), dtype)
        return y if y.shape[0] == rows else y[:rows]

    def _weight(self, tensors, shape):
        weight = SimpleNamespace(shape=tuple(shape))
        vars(weight).update(zip(self.tensors, tensors, strict=True))
        return weight

    def _bias(self, bias, dtype):
        return None if bias is None else (bias.to(dtype) if self.bias_like_x else bias).contiguous()


def smoothed(x: torch.Tensor, pre_quant_scale: torch.Tensor) -> torch.Tensor:
    """x [M, K] float, pre_quant_scale float32 [K] -> their product, multiplied in float32 and rounded once to x.dtype,
    in one pass without a float32 copy."""
    return torch.mul(x, pre_quant_scale, out=torch.empty(x.shape, dtype=x.dtype, device=x.device))
