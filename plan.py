"""The plan: a scheme resolved on this machine for one model, layer by layer, with its reasons."""

import functools
from dataclasses import dataclass

import torch

from .formats import FORMATS
from .kernels import Choice, Kernel, NoKernelError, choose
from .machine import Machine, describe
from .schemes import SCHEMES, Scheme


class SchemeMismatchError(ValueError):
    """The scheme is for another format than the file's, and transcoding was not allowed."""


@dataclass(frozen=True)
class LayerPlan:
    """How one linear layer is stored and computed."""

    format: str
    choice: Choice


class Plan:
    """Filled while a model loads: `assign` decides each layer once. `title` names the model in reports."""

    def __init__(self, title: str, scheme: Scheme, machine: Machine, compute_dtype: torch.dtype, strict: bool = False):
        self.title = title
        self.scheme = scheme
        self.machine = machine
        self.compute_dtype = compute_dtype
        self.strict = strict
        self.layers: dict[str, LayerPlan] = {}

    def assign(self, layer: str, format_name: str, shape: tuple[int, int]) -> Kernel:
        """Decide how `layer` with a weight of `shape` (N, K) is computed on the plan's machine, and note it.

        Raises NoKernelError if strict and the scheme's own kernel cannot; the message names model and layer.
        """
        try:
            choice = choose(format_name, self.machine, shape, self.scheme.kernel, self.strict)
        except NoKernelError as error:
            raise NoKernelError(f"{self.title}, layer {layer}: {error}") from error
        self.layers[layer] = LayerPlan(format_name, choice)
        return choice.kernel

    @functools.cache  # noqa: B019 - a plan lives as long as its model
    def elsewhere(self, device: torch.device, format_name: str, shape: tuple[int, int]) -> Kernel:
        """The kernel for a layer that core runs on another kind of device than the one it was loaded for."""
        return choose(format_name, describe(device), shape).kernel

    def summary(self) -> list[dict]:
        """One entry per (format, kernel), most layers first: format, kernel, layers (count), activation, summary, and
        passed_over {kernel: reason} as the first of those layers has it."""
        groups: dict[tuple[str, Kernel], dict] = {}
        for entry in self.layers.values():
            kernel = entry.choice.kernel
            group = groups.setdefault(
                (entry.format, kernel),
                {
                    "format": entry.format,
                    "kernel": kernel.name,
                    "layers": 0,
                    "activation": kernel.activation,
                    "summary": kernel.summary,
                    "passed_over": dict(entry.choice.passed_over),
                },
            )
            group["layers"] += 1
        return sorted(groups.values(), key=lambda group: -group["layers"])

    def lines(self) -> list[str]:
        """The plan in words: a head line, then a line per group and one per kernel passed over."""
        dtype = str(self.compute_dtype).removeprefix("torch.")
        lines = [f"{self.title}: scheme {self.scheme.name} on {self.machine}, compute dtype {dtype}"]
        for group in self.summary():
            count = f"{group['layers']} layer{'s' * (group['layers'] > 1)}"
            lines.append(f"- {count} {group['format']} -> {group['kernel']}: {group['summary']}")
            lines += [f"- not {name}: {reason}" for name, reason in group["passed_over"].items()]
        if self.advice():
            lines.append(f"- tip: {self.advice()}")
        return lines

    def advice(self) -> str | None:
        """What would multiply in low precision here if this format cannot, else None."""
        if self.scheme.kernel is not None or all(e.choice.kernel.activation != "float" for e in self.layers.values()):
            return None
        for name in FORMATS:
            kernel = choose(name, self.machine).kernel
            scheme = next((s.name for s in SCHEMES if (s.format, s.kernel) == (name, kernel.name)), None)
            if kernel.activation != "float" and scheme is not None:
                return (
                    f"scheme {scheme} with transcode on multiplies in {kernel.activation} on this machine, "
                    "for a little of the accuracy"
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
