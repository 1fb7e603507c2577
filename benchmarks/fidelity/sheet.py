"""The contact sheet: the same prompts by several contestants, side by side."""

import torch
from matplotlib.figure import Figure

from .contestants import BASELINE, CORE, GGUF, ORIGINAL, OURS
from .frames import Frames

SHOWN = ("int8-channel", "fp8-channel", "int4-g128")
ABSENT = ("ComfyUI mxfp8", "ComfyUI nvfp4", "ComfyUI bf16, bf16 activations")
INCH = 0.62  # per frame
MARGIN = 2.2  # inches for the names
WRONG = "firebrick"


def sheet(report: dict, frames: Frames) -> Figure:
    """A row per contestant of `shown`, three frames per prompt, framed in red where they read wrong."""
    names = shown(report)
    columns = len(frames.cases)
    figure = Figure(figsize=(MARGIN + 3 * INCH * columns, INCH * (len(names) + 1)), layout="constrained")
    axes = figure.subplots(len(names), columns, squeeze=False)
    for row, name in enumerate(names):
        for column, case in enumerate(frames.cases):
            ax = axes[row][column]
            ax.imshow(torch.cat(list(frames.rows[name][column]), dim=1).numpy(), interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            right = frames.right[name][column]
            ax.spines[:].set(color="white" if right else WRONG, linewidth=0.5 if right else 2)
            if row == 0:
                ax.set_title(case.scene.caption + (" *" if case.held_out else ""), fontsize=6)
            if column == 0:
                ax.set_ylabel(name, fontsize=7, rotation=0, ha="right", va="center")
    figure.supxlabel("* never trained in this combination; red frame: read wrong off the pixels", fontsize=7)
    return figure


def shown(report: dict) -> list[str]:
    """The baseline, ours of SHOWN on the kernel that `auto` picks, and the peers."""
    rows = [row for row in report["contestants"] if not row["error"] and row["text"] == ORIGINAL]
    ours = [row["name"] for row in rows if row["loader"] == OURS and row["auto"] and row["format"] in SHOWN]
    peers = [row["name"] for row in rows if row["loader"] in (CORE, GGUF) and row["name"] not in ABSENT]
    return [BASELINE.name, *ours, *(name for name in peers if name != BASELINE.name)]
