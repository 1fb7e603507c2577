"""The plan: a scheme resolved on this machine for one model, layer by layer, with reasons."""

import functools
from dataclasses import dataclass

import torch

from ..common.printable import PrintableError
from ..formats import FORMATS, SMOOTHED, family, fitting, like
from ..kernels import FAST, Choice, Kernel, NoKernelError, choose, missing_library
from ..kernels.machine import Machine, describe
from . import AUTO, Scheme
from .half_rate import FASTER, at_half_rate

# format that this machine may only dequantize -> (format to convert to at load, error that this adds to Gaussian
# weights, in words); the plan of a loaded model reports the measured error
TRANSCODES = dict.fromkeys(("fp8-channel", "fp8-tensor", "fp8-block128"), ("int8-channel", "about 1 %"))
TRANSCODES[SMOOTHED["fp8-channel"]] = (SMOOTHED["int8-channel"], "about 1 %")
SMALLEST_TOLD = 0.001
# what to do, in the words of the node
TRANSCODE = 'switch "transcode at load" on in Quantization Scheme'


class SchemeMismatchError(PrintableError, ValueError):
    """The scheme is for another format than the file's, and transcoding is off or impossible."""


@dataclass
class LayerPlan:
    """How one linear layer is computed. `file_format`: its format in the file. `choice`: its format in memory and its
    kernel. `added_error`: relative error that the conversion between the formats added, measured at load. `rounding`:
    the method by which a weight that was quantized here was rounded, "" for one that came with its codes."""

    file_format: str
    choice: Choice
    added_error: float = 0.0
    rounding: str = ""

    @property
    def converted(self) -> bool:
        return self.file_format != self.choice.format


class Plan:
    """Filled by `assign` while a model loads. `title`: the model's name in reports. `strict`: an error instead of a
    fallback. `transcode`: `auto` may convert weights by TRANSCODES. `component`: "dit", "t5" or "clip". `notes`:
    further lines of the report. `calibrated`: calls of the model and tokens of a layer in the calibration by which
    layers were quantized here, 0 without one."""

    def __init__(
        self,
        title: str,
        scheme: Scheme,
        machine: Machine,
        compute_dtype: torch.dtype,
        strict: bool = False,
        transcode: bool = False,
        component: str = "dit",
    ):
        self.title = title
        self.scheme = scheme
        self.machine = machine
        self.compute_dtype = compute_dtype
        self.strict = strict
        self.transcode = transcode
        self.component = component
        self.layers: dict[str, LayerPlan] = {}
        self.about = ""
        self.notes: list[str] = []
        self.calibrated: tuple[int, int] = (0, 0)

    def tell(self, about: str) -> None:
        """about: what the model is and needs. It becomes the first of the notes."""
        self.about = about
        self.notes.insert(0, about)

    def assign(self, layer: str, format_name: str, shape: tuple[int, int]) -> LayerPlan:
        """Choose the format in memory and the kernel of `layer`, and add both to the plan. format_name: its format in
        the file. shape: (N, K) of the weight.

        Raises NoKernelError if strict and the scheme's own kernel cannot run; the message names model and layer.
        """
        try:
            choice = self._transcoded(format_name, shape) or self._choose(self._target(format_name, shape), shape)
        except NoKernelError as error:
            raise NoKernelError(f"{self.title}, layer {layer}: {error}") from error
        self.layers[layer] = LayerPlan(format_name, choice)
        return self.layers[layer]

    def _choose(self, format_name: str, shape: tuple[int, int] | None) -> Choice:
        return choose(format_name, self.machine, shape, self.scheme.kernel, self.strict, self.compute_dtype)

    def _target(self, format_name: str, shape: tuple[int, int]) -> str:
        """The format in memory: the scheme's, or the file's where that does not take the shape."""
        wanted = self.scheme.format
        if wanted is None:
            return format_name
        other = family(wanted) != family(format_name)
        target = like(format_name, fitting(wanted, shape)) if other else format_name
        return target if FORMATS[target].fits(shape) else format_name

    def _transcoded(self, format_name: str, shape: tuple[int, int]) -> Choice | None:
        """What `transcode` converts the file's format to, if it is on."""
        return self._better(format_name, shape) if self.transcode and self.scheme.name == AUTO else None

    def _better(self, format_name: str, shape: tuple[int, int] | None) -> Choice | None:
        """The format of TRANSCODES for one that is dequantized here, one of FASTER for one at half the rate; None if
        that would be no faster."""
        if format_name not in TRANSCODES:
            return None
        usual = self._choose(format_name, shape).kernel
        if usual.activation == "float":
            choice = self._choose(TRANSCODES[format_name][0], shape)
            return None if choice.kernel.activation == "float" else choice
        return self._at_whole_rate(format_name, shape) if at_half_rate(usual, self.machine) else None

    def _at_whole_rate(self, format_name: str, shape: tuple[int, int] | None) -> Choice | None:
        for row in FASTER:
            target = like(format_name, fitting(row.format, shape) if shape else row.format)
            if target in FORMATS and (shape is None or FORMATS[target].fits(shape)):
                # the kernels of int8 are ranked, that of float16 sums is only taken by name
                prefer = row.kernels[0] if len(row.kernels) == 1 else None
                choice = choose(target, self.machine, shape, prefer, dtype=self.compute_dtype)
                if choice.kernel.name in row.kernels:
                    return choice
        return None

    @functools.cache  # noqa: B019 - a plan lives as long as its model
    def elsewhere(self, device: torch.device, format_name: str, shape: tuple[int, int]) -> Kernel:
        """The kernel for a layer that core runs on another kind of device than the plan's."""
        return choose(format_name, describe(device), shape, dtype=self.compute_dtype, as_stored=True).kernel

    def summary(self) -> list[dict]:
        """One entry per (file format, format, kernel), most layers first: held (the file format), format, kernel,
        layers (count), activation, summary, added_error (mean), passed_over ({kernel: reason} of the first layer),
        good_for (see Kernel)."""
        groups: dict[tuple[str, str, Kernel], list[LayerPlan]] = {}
        for entry in self.layers.values():
            groups.setdefault((entry.file_format, entry.choice.format, entry.choice.kernel), []).append(entry)
        result = [
            {
                "held": file_format,
                "format": format_name,
                "kernel": kernel.name,
                "layers": len(entries),
                "activation": kernel.activation,
                "summary": kernel.summary,
                "added_error": sum(e.added_error for e in entries) / len(entries),
                "passed_over": dict(entries[0].choice.passed_over),
                "good_for": kernel.good_for,
            }
            for (file_format, format_name, kernel), entries in groups.items()
        ]
        return sorted(result, key=lambda group: -group["layers"])

    def lines(self, short: bool = False) -> list[str]:
        """The plan as text: a head line, then a line per group and one per reason why kernels were passed over. short:
        without those reasons, the dtype and how the kernels compute."""
        dtype = str(self.compute_dtype).removeprefix("torch.")
        head = f"{self.title}: scheme {self.scheme.name} on {self.machine}"
        lines = [head if short else f"{head}, compute dtype {dtype}"]
        for group in self.summary():
            count = f"{group['layers']} layer{'s' * (group['layers'] > 1)}"
            line = f"- {count} {group['format']} -> {group['kernel']}"
            lines.append(line if short else f"{line}: {group['summary']}")
            if group["held"] != group["format"]:
                lines.append(f"- converted from {group['held']}, {_cost(group['added_error'])}")
            lines += [] if short else self._passed_over(group)
        lines += [f"- {line}" for line in (self.unfitting(), self.half_rate(), *self.notes) if line]
        if self.advice():
            lines.append(f"- tip: {self.advice()}")
        return lines

    def _passed_over(self, group: dict) -> list[str]:
        """A line per reason, with the kernels that it is for. A library that nobody needs is optional."""
        words: dict[tuple[str, str], list[str]] = {}
        for name, reason in group["passed_over"].items():
            lacks = group["good_for"] == FAST and name != self.scheme.kernel
            lacks = lacks and missing_library(name, group["format"], self.machine) is not None
            words.setdefault(("optional," if lacks else "not", reason), []).append(name)
        return [f"- {how} {', '.join(names)}: {reason}" for (how, reason), names in words.items()]

    def advice(self) -> str | None:
        """A tip to convert weights at load, if that should make fast what only saves memory now; else None."""
        if self.scheme.name != AUTO or self.transcode:
            return None
        for file_format in {entry.file_format: None for entry in self.layers.values()}:
            other = self._better(file_format, None)
            if other is not None:
                return (
                    f"{TRANSCODE}: the weights become {other.format}, which should be fast on this machine, for "
                    f"{TRANSCODES[file_format][1]} more error in the weights"
                )
        return None

    def unfitting(self) -> str | None:
        """A line on layers that the scheme's format does not take, None if there are none."""
        wanted = self.scheme.format
        if wanted is None:
            return None
        kept = [entry for entry in self.layers.values() if _stays(entry, wanted)]
        count = f"{len(kept)} layer{'s' * (len(kept) != 1)}"
        return f"{wanted} does not take the shape of {count}: the file's format stays" if kept else None

    def half_rate(self) -> str | None:
        """A line on fp8 that this GPU multiplies at half the rate of int8, None if no layer does."""
        if not any(at_half_rate(entry.choice.kernel, self.machine) for entry in self.layers.values()):
            return None
        return f"fp8 with float32 sums has half the rate of int8, and of fp8 with float16 sums, on {self.machine.name}"

    def fallback(self) -> str | None:
        """A line on the layers that do not run on the scheme's own kernel, None if all do."""
        wanted = self.scheme.kernel
        missed = [e for e in self.layers.values() if wanted is not None and not e.choice.kernel.called(wanted)]
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


def _stays(entry: LayerPlan, wanted: str) -> bool:
    """Whether a layer of another format than `wanted` has kept it."""
    stored = family(entry.file_format)
    return stored != family(wanted) and family(entry.choice.format) == stored
