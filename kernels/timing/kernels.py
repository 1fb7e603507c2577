"""Every kernel that runs here, at a model's own shapes, against torch's bfloat16 linear."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch

from ...checkpoints import open_checkpoint
from ...formats import FORMATS
from .. import choose, survey
from ..machine import Machine, default_device, describe
from ..winners import save
from .case import Case, timed
from .clock import FULL, Effort, Timing, measure
from .listing import KERNELS

# 81 frames of 832 x 480: 21 x 30 x 52 latent patches
VIDEO_TOKENS = 32760
# of Wan, and of its feed-forward
WIDTHS_1_3B, WIDTHS_14B = (1536, 8960), (5120, 13824)
CPU_TOKENS, QUICK_TOKENS = 1024, 32
# what the best kernel must reach against bfloat16, activation quantization included: (format, tokens, (N, K)) -> ratio
GPU_TARGETS = {("fp8-channel", VIDEO_TOKENS, (n, 5120)): 1.6 for n in (5120, 13824)}
# not a competitor: the yardstick of the tests
UNTIMED = {"reference"}
DENSE = "dense"
# of the unquantized layer that all are held against, and of the activations that all get
DTYPE = torch.bfloat16

Shape = tuple[int, int]


def wan_shapes(width: int, mlp: int) -> tuple[Shape, ...]:
    """(N, K) of the linear layers of a Wan block."""
    return (width, width), (mlp, width), (width, mlp)


WAN_1_3B, WAN_14B = wan_shapes(*WIDTHS_1_3B), wan_shapes(*WIDTHS_14B)


def work(model: str | None, machine: Machine) -> dict[str, list[Shape]]:
    """Format -> shapes (N, K): those of the model file's quantized layers, or every format at Wan's shapes.

    Raises CheckpointError for a file that cannot be read.
    """
    if model is None:
        sizes = WAN_1_3B if machine.kind == "cpu" else (*WAN_1_3B, *WAN_14B)
        return {name: list(sizes) for name, row in FORMATS.items() if row.family == name}
    checkpoint = open_checkpoint(Path(model))
    result: dict[str, list[Shape]] = {}
    for layer in checkpoint.layers.values():
        sizes = result.setdefault(layer.format, [])
        if layer.shape not in sizes:
            sizes.append(layer.shape)
    return result


@torch.inference_mode()
def cases(model: str | None = None, tokens: int | None = None, effort: Effort = FULL, keep: bool = False) -> list[Case]:
    """A case per format, shape and kernel, in milliseconds, `theirs` being torch bfloat16. keep: the fastest kernel of
    each format and shape is saved for `auto`."""
    device = default_device()
    machine = describe(device)
    usual = CPU_TOKENS if machine.kind == "cpu" else VIDEO_TOKENS
    tokens = tokens or (QUICK_TOKENS if effort.quick else usual)
    result: list[Case] = []
    fastest: dict[tuple[str, Shape], str] = {}
    for format_name, sizes in work(model, machine).items():
        for shape in sizes[:1] if effort.quick else sizes:
            times = _times(format_name, shape, tokens, machine, device, effort)
            dense = times.pop(DENSE)
            best = min(times, key=lambda kernel: times[kernel].median)
            fastest[format_name, shape] = best
            target = GPU_TARGETS.get((format_name, tokens, shape)) if machine.kind == "cuda" else None
            for kernel, timing in times.items():
                what = f"{format_name} {kernel} {tokens}x{shape[1]}x{shape[0]}"
                result.append(
                    timed(KERNELS, what, "torch bf16", timing, dense, target=target if kernel == best else None)
                )
    if keep:
        save(machine, fastest)
    return result


def _times(format_name: str, shape: Shape, tokens: int, machine: Machine, device, effort) -> dict[str, Timing]:
    """Kernel -> its timing, and DENSE for torch's bfloat16."""
    n, k = shape
    x = torch.randn((tokens, k), device=device).to(DTYPE)
    weight = torch.randn((n, k), device=device) / k**0.5
    bias = torch.randn(n, device=device).to(DTYPE)
    dense = weight.to(DTYPE)
    runs = {DENSE: lambda: torch.nn.functional.linear(x, dense, bias)}
    stored = {}
    for kernel, choice in _runnable(format_name, shape, machine):
        if choice.format not in stored:
            stored[choice.format] = FORMATS[choice.format].quantize(weight, DTYPE)
        held = stored[choice.format]
        runs[kernel] = partial(choice.kernel.linear, x, held._qdata, held._params, bias)
    return measure(runs, effort, warmups=2)


def _runnable(format_name: str, shape: Shape, machine: Machine) -> Iterable:
    for kernel, reason in survey(format_name, machine, shape, DTYPE).items():
        if reason is None and kernel not in UNTIMED:
            yield kernel, choose(format_name, machine, shape, kernel, strict=True, dtype=DTYPE)
