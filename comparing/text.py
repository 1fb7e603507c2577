"""A comparison's report as Markdown."""

import math

from ..common.markdown import table
from .report import Report
from .verdict import Verdict, decibels_text

STEP_HEADS = ("step", "latents off")
SHOWN = 5  # lines of a verdict on the node, which has little room
LAYER_HEADS = ("layer", "size", "reference", "candidate", "output")


def describe(report: Report) -> str:
    """The verdict with its lines, the figures of the result, a table of the steps and one of the layers."""
    blocks = [report.verdict.words]
    if report.verdict.lines:
        blocks.append("\n".join(report.verdict.lines))
    blocks += [_result(report), steps_table(report), layers_table(report)]
    return "\n\n".join(blocks)


def short(found: Verdict) -> str:
    """The verdict without its figures, and the first of its lines."""
    if found.identical:
        return found.words
    visible, advice, _ = found.words.split("\n")
    more = [f"... {len(found.lines) - SHOWN} more: the output layers"] if len(found.lines) > SHOWN else []
    return "\n\n".join(filter(None, (visible, advice, "\n".join([*found.lines[:SHOWN], *more]))))


def steps_table(report: Report) -> str:
    return table(STEP_HEADS, [(str(step), percent(error)) for step, error in enumerate(report.steps, 1)])


def layers_table(report: Report) -> str:
    """A table of each layer's signal-to-noise ratio on the same inputs, worst first."""
    rows = [
        (layer.name, f"{layer.shape[0]} x {layer.shape[1]}", layer.reference, layer.candidate, decibels_text(layer.snr))
        for layer in sorted(report.layers, key=lambda layer: layer.snr)
    ]
    return table(LAYER_HEADS, rows)


def percent(error: float) -> str:
    if not math.isfinite(error):
        return "not a number"
    return "0" if error == 0 else f"{error:.3%}"


def _result(report: Report) -> str:
    lines = [f"- result: latents {percent(report.result)} off"]
    if report.psnr is not None:
        lines.append(f"- PSNR of the decoded result: {decibels_text(report.psnr)}")
    if report.ssim is not None:
        lines.append(f"- SSIM of the decoded result: {report.ssim:.4f}")
    return "\n".join(lines)
