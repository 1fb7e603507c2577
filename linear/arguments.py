"""The extra arguments that newer releases of ComfyUI pass to a linear layer, as defined by `comfy.ops.linear_input_act`
and `Linear.forward` there:

    y = residual + residual_scale * linear(act(x))

Everything but the product is computed in float32 and rounded once.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import gelu, rms_norm, silu

from .errors import CallError

REMEDY = "Update x2v-quant, or run a ComfyUI that its README says it was tested with."


def _gelu_tanh(x: torch.Tensor, weight, eps) -> torch.Tensor:
    return gelu(x, approximate="tanh")


def _swiglu(x: torch.Tensor, weight, eps) -> torch.Tensor:
    """[..., 2 K], the gate first -> [..., K]."""
    gate, up = x.chunk(2, dim=-1)
    return silu(gate) * up


def _rms_norm(x: torch.Tensor, weight, eps) -> torch.Tensor:
    """weight: [K], None, or the norm's module, which casts its weight and has its own eps."""
    if isinstance(weight, torch.nn.Module):
        return weight(x)
    return rms_norm(x, x.shape[-1:], None if weight is None else weight.to(x), eps or 0.0)


# input_act -> function (x in float32, act_weight, act_eps) -> act(x) in float32
ACTIVATIONS: dict[str, Callable[..., torch.Tensor]] = {
    "gelu_tanh": _gelu_tanh,
    "swiglu": _swiglu,
    "rms_norm": _rms_norm,
}
# in the positional order of core's own layers
ARGUMENTS = ("input_act", "act_weight", "act_eps", "residual", "residual_scale", "gate")
# argument -> (the argument that it needs, what that has to be); without it core would ignore it
BESIDE = {
    "act_weight": ("input_act", "rms_norm"),
    "act_eps": ("input_act", "rms_norm"),
    "residual_scale": ("residual", "a tensor"),
    "gate": ("residual", "a tensor"),
}


@dataclass(frozen=True)
class Fused:
    """The arguments of one call after the input. `residual` broadcasts with the output [..., N]. So does the scale of
    the product: `residual_scale`, or `gate` in other releases; 1 without either."""

    input_act: str | None = None
    act_weight: torch.Tensor | torch.nn.Module | None = None
    act_eps: float | None = None
    residual: torch.Tensor | None = None
    residual_scale: torch.Tensor | float | None = None
    gate: torch.Tensor | float | None = None

    @classmethod
    def of(cls, args: Sequence, kwargs: Mapping) -> "Fused":
        """Parse a call's arguments after the input. Raises CallError for one that is unknown or would be ignored."""
        # releases whose norm is a module have no act_eps
        without_eps = len(args) > 2 and isinstance(args[2], torch.Tensor)
        order = [name for name in ARGUMENTS if not (without_eps and name == "act_eps")]
        unknown = [name for name in kwargs if name not in ARGUMENTS]
        unknown += [f"a positional argument {1 + number}" for number in range(len(order), len(args))][:1]
        if unknown:
            raise CallError(f"This ComfyUI calls a linear layer with {unknown[0]}, which is not known here. {REMEDY}")
        given = cls(**dict(zip(order, args, strict=False)), **kwargs)
        given._check()
        return given

    def _check(self) -> None:
        if self.input_act is not None and self.input_act not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise CallError(
                f"This ComfyUI calls a linear layer with input_act {self.input_act!r}, known here are {known}. {REMEDY}"
            )
        given = self.given()
        for name, (other, wanted) in BESIDE.items():
            lacking = other not in given or (other == "input_act" and given[other] != wanted)
            if name in given and lacking:
                raise CallError(f"A linear layer was called with {name}, but {other} is not {wanted}. {REMEDY}")
        if "residual_scale" in given and "gate" in given:
            raise CallError(f"A linear layer was called with residual_scale and with gate, which are one. {REMEDY}")

    def given(self) -> dict:
        """The arguments that differ from core's defaults, by name."""
        values = {name: getattr(self, name) for name in ARGUMENTS}
        if self.act_eps == 0:
            values["act_eps"] = None
        return {name: value for name, value in values.items() if value is not None}

    def around(self, linear: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """Compute the formula above around `linear` -> [..., N] in the wider dtype of its output and the residual."""
        return self._added(linear(self.activated(x)))

    def activated(self, x: torch.Tensor) -> torch.Tensor:
        """act(x), [..., K] in the dtype of x: what the layer multiplies."""
        if self.input_act is None:
            return x
        return ACTIVATIONS[self.input_act](x.to(torch.float32), self.act_weight, self.act_eps).to(x.dtype)

    def _added(self, y: torch.Tensor) -> torch.Tensor:
        if self.residual is None:
            return y
        scale = self.gate if self.residual_scale is None else self.residual_scale
        scale = torch.as_tensor(1.0 if scale is None else scale, dtype=torch.float32, device=y.device)
        total = torch.addcmul(self.residual.to(torch.float32), scale, y.to(torch.float32))
        return total.to(torch.promote_types(self.residual.dtype, y.dtype))


def named_by(forward: Callable) -> frozenset[str]:
    """The parameter names of a layer's forward."""
    return frozenset(inspect.signature(forward).parameters)


def multiplied(args: Sequence, kwargs: Mapping) -> torch.Tensor:
    """What a linear layer multiplies, [..., K], from the arguments of its call as a hook gets them."""
    x, *others = args if args else (kwargs["input"],)
    return Fused.of(others, {name: value for name, value in kwargs.items() if name != "input"}).activated(x)
