"""The plan: a scheme resolved on this machine for one model, layer by layer, with its reasons."""

import functools
from dataclasses import dataclass

import torch

from ..common.printable import PrintableError
from ..formats import SMOOTHED, family, fitting, like
from ..kernels import Choice, Kernel, NoKernelError, choose
from ..kernels.machine import Machine, describe
from . import AUTO, Scheme

# format -> what it may become at load where it cannot be multiplied as it is, and what that adds to the error of the
# weights (Gaussian weights; the plan states the measured figure of the model once it is loaded)
TRANSCODES = dict.fromkeys(("fp8-channel", "fp8-tensor", "fp8-block128"), ("int8-channel", "about 1 %"))
TRANSCODES[SMOOTHED["fp8-channel"]] = (SMOOTHED["int8-channel"], "about 1 %")
SMALLEST_TOLD = 0.001


class SchemeMismatchError(PrintableError, ValueError):
    """The scheme is for another format than the file's, and transcoding was not allowed."""


@dataclass
class LayerPlan:
    """How one linear layer is computed. `held`: its format in the file; `choice.format`: what it is stored as here;
    `added_error`: relative error that converting the weight added, measured at load."""

    held: str
    choice: Choice
    added_error: float = 0.0

    @property
    def converted(self) -> bool:
        return self.held != self.choice.format


class Plan:
    """Filled while a model loads: `assign` decides each layer once. `title` names the model in reports; `transcode`
    lets `auto` convert weights that this machine cannot multiply as they are (TRANSCODES); `notes`: what whoever filled
    it adds to the report."""

    def __init__(
        self,
        title: str,
        scheme: Scheme,
        machine: Machine,
        compute_dtype: torch.dtype,
        strict: bool = False,
        transcode: bool = False,
    ):
        self.title = title
        self.scheme = scheme
        self.machine = machine
        self.compute_dtype = compute_dtype
        self.strict = strict
        self.transcode = transcode
        self.layers: dict[str, LayerPlan] = {}
        self.notes: list[str] = []

    def assign(self, layer: str, format_name: str, shape: tuple[int, int]) -> LayerPlan:
        """Decide how `layer`, held as `format_name` with a weight of `shape` (N, K), is stored and computed on the
        plan's machine, and note it.

        Raises NoKernelError if strict and the scheme's own kernel cannot; the message names model and layer.
        """
        try:
            choice = self._choose(self._target(format_name, shape), shape)
        except NoKernelError as error:
            raise NoKernelError(f"{self.title}, layer {layer}: {error}") from error
        self.layers[layer] = LayerPlan(format_name, choice)
        return self.layers[layer]

    def _choose(self, format_name: str, shape: tuple[int, int] | None) -> Choice:
        return choose(format_name, self.machine, shape, self.scheme.kernel, self.strict, self.compute_dtype)

    def _target(self, format_name: str, shape: tuple[int, int]) -> str:
        """The format to compute in: the file's, the scheme's, or what `transcode` makes of the file's."""
        wanted = self.scheme.format
        if wanted is not None:
            other = family(wanted) != family(format_name)
            return fitting(like(format_name, wanted), shape) if other else format_name
        better = self._better(format_name, shape) if self.transcode and self.scheme.name == AUTO else None
        return better or format_name

    def _better(self, format_name: str, shape: tuple[int, int] | None) -> str | None:
        """The row of TRANSCODES for a format that is dequantized here, if that one is not."""
        other = TRANSCODES.get(format_name, (None,))[0]
        if other is None or self._choose(format_name, shape).kernel.activation != "float":
            return None
        return None if self._choose(other, shape).kernel.activation == "float" else other

    @functools.cache  # noqa: B019 - a plan lives as long as its model
    def elsewhere(self, device: torch.device, format_name: str, shape: tuple[int, int]) -> Kernel:
        """The kernel for a layer that core runs on another kind of device than the one it was loaded for."""
        return choose(format_name, describe(device), shape, dtype=self.compute_dtype, as_stored=True).kernel

    def summary(self) -> list[dict]:
        """One entry per (held, format, kernel), most layers first: held, format, kernel, layers (count), activation,
        summary, added_error (mean), and passed_over {kernel: reason} as the first of those layers has it."""
        groups: dict[tuple[str, str, Kernel], list[LayerPlan]] = {}
        for entry in self.layers.values():
            groups.setdefault((entry.held, entry.choice.format, entry.choice.kernel), []).append(entry)
        result = [
            {
                "held": held,
                "format": format_name,
                "kernel": kernel.name,
                "layers": len(entries),
                "activation": kernel.activation,
                "summary": kernel.summary,
                "added_error": sum(e.added_error for e in entries) / len(entries),
                "passed_over": dict(entries[0].choice.passed_over),
            }
            for (held, format_name, kernel), entries in groups.items()
        ]
        return sorted(result, key=lambda group: -group["layers"])

    def lines(self) -> list[str]:
        """The plan in words: a head line, then a line per group and one per kernel passed over."""
        dtype = str(self.compute_dtype).removeprefix("torch.")
        lines = [f"{self.title}: scheme {self.scheme.name} on {self.machine}, compute dtype {dtype}"]
        for group in self.summary():
            count = f"{group['layers']} layer{'s' * (group['layers'] > 1)}"
            lines.append(f"- {count} {group['format']} -> {group['kernel']}: {group['summary']}")
            if group["held"] != group["format"]:
                lines.append(f"- converted from {group['held']}, {_cost(group['added_error'])}")
            lines += [f"- not {name}: {reason}" for name, reason in group["passed_over"].items()]
        lines += [f"- {note}" for note in self.notes]
        if self.advice():
            lines.append(f"- tip: {self.advice()}")
        return lines

    def advice(self) -> str | None:
        """What would multiply in low precision here if the file's format cannot, else None."""
        if self.scheme.name != AUTO or self.transcode:
            return None
        for held in {entry.held: None for entry in self.layers.values()}:
            other = self._better(held, None)
            if other is not None:
                return (
                    f"with transcode on the weights become {other}, which multiplies in low precision on this machine, "
                    f"for {TRANSCODES[held][1]} more error in the weights"
                )
        return None

    def fallback(self) -> str | None:
        """One line if the scheme's own kernel is used nowhere or not everywhere, else None."""
        wanted = self.scheme.kernel
        missed = [e for e in self.layers.values() if wanted is not None and e.choice.kernel.name != wanted]
        if not missed:
            return None
        used = ", ".join(sorted({e.choice.kernel.name for e in missed}))
        reason = missed[0].choice.passed_over[wanted]
        share = f"{len(missed)} of {len(self.layers)} layers"
        return f"{self.scheme.name} falls back to {used} for {share}: {wanted} {reason}."


def _cost(added_error: float) -> str:
    if added_error == 0:
        return "which changes no value"
    share = f"{added_error:.1%}" if added_error >= SMALLEST_TOLD else f"less than {SMALLEST_TOLD:.1%}"
    return f"which adds {share} to the error of the weights"
