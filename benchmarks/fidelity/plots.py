"""The result as pictures, which depend on nothing but the report (and the frames of the contact sheet)."""

from pathlib import Path

from matplotlib.figure import Figure

from ...comparing.metrics import CEILING
from .bits_plot import bits_plot
from .contestants import BASELINE
from .frames import Frames
from .sheet import sheet

DPI = 150
LINE = 0.19  # inches of height per contestant
NO_DATE = {"Software": None}  # the same report gives the same bytes


def save(report: dict, frames: Frames, folder: Path, stem: str) -> list[Path]:
    """Writes <stem>-bits.png, <stem>-layers.png and <stem>-videos.png."""
    figures = {"bits": bits_plot(report), "layers": layer_map(report), "videos": sheet(report, frames)}
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{stem}-{name}.png")
        figure.savefig(paths[-1], dpi=DPI, metadata=NO_DATE, bbox_inches="tight")
    return paths


def layer_map(report: dict) -> Figure:
    """Signal to noise of each layer's output in dB: a row per contestant, a column per layer, blocks side by side."""
    rows = [row for row in _finished(report) if row["name"] != BASELINE.name]
    layers = sorted(report["contestants"][0]["layers"], key=_block_and_type)
    values = [[min(row["layers"][layer]["output_snr"], CEILING) for layer in layers] for row in rows]
    figure = Figure(figsize=(3.5 + 0.17 * len(layers), 1.6 + LINE * max(1, len(rows))), layout="constrained")
    ax = figure.subplots()
    if not rows:
        return figure
    image = ax.imshow(values, aspect="auto", cmap="viridis", interpolation="nearest")
    ax.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=7)
    ax.set_xticks(range(len(layers)), [layer.removeprefix("blocks.") for layer in layers], fontsize=5, rotation=90)
    for column in range(1, len(layers)):
        if _block_and_type(layers[column])[0] != _block_and_type(layers[column - 1])[0]:
            ax.axvline(column - 0.5, color="white", linewidth=1)
    figure.colorbar(image, label="layer output, signal to noise, dB", pad=0.01)
    return figure


def _finished(report: dict) -> list[dict]:
    return [row for row in report["contestants"] if not row["error"]]


def _block_and_type(layer: str) -> tuple[int, list[str]]:
    """ "blocks.3.ffn.0" -> (3, ["ffn", "0"])"""
    _, block, *kind = layer.split(".")
    return int(block), kind
