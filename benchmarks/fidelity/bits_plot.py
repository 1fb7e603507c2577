"""Quality over size: how far latents are off, over bits per weight."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from .contestants import ORIGINAL, OURS

COLOURS = {True: "tab:blue", False: "tab:orange"}
WORDS = {True: "this pack", False: "ComfyUI and ComfyUI-GGUF"}
# files of so many bits and more are not quantized
UNQUANTIZED = 16
# what other kernels compute too: activations quantized as a GPU's kernels do it, and not at all
SHOWN = {"reference": "", "dequant": ", weights only"}
# what the axes have lines at
BITS, ERRORS = (4, 4.5, 5, 5.5, 6, 7, 8, 8.5), (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
# names stand left of the plot for points up to here, else right of it
LEFT = 6.0
TITLE = "How far latents are from those of 16 bits: lower is better"
LINE = 0.155  # inches of height per name
WIDTH, LEAST = 9.0, 4.0  # inches
MARGIN = 0.27  # of the width, for names, on both sides
SIZE = 7.5  # of the names


def bits_plot(report: dict) -> Figure:
    """A point per row of `shown`, both axes logarithmic. Names stand at the nearer side, each on a line of its own, in
    the order of the error."""
    points = shown(report["contestants"])
    sides = [sorted((p for p in points if (p[1] <= LEFT) == left), key=lambda p: p[2]) for left in (True, False)]
    height = max(LEAST, 1.2 + LINE * max(map(len, sides)))
    figure = Figure(figsize=(WIDTH, height))
    ax = figure.add_axes((MARGIN, 0.6 / height, 1 - 2 * MARGIN, 1 - 1.0 / height))
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="bits per weight, scales included",
        title=TITLE,
    )
    for ours, colour in COLOURS.items():
        mine = [point for point in points if point[3] == ours]
        if mine:
            x, y = [point[1] for point in mine], [point[2] for point in mine]
            ax.scatter(x, y, s=18, color=colour, label=WORDS[ours], zorder=3)
    ax.grid(alpha=0.2)
    for axis, ticks, words in ((ax.xaxis, BITS, "{:g}"), (ax.yaxis, ERRORS, "{:.1%}")):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FuncFormatter(lambda value, _, words=words: words.format(value)))
        axis.set_minor_locator(NullLocator())
    if points:
        ax.legend(loc="best", fontsize=SIZE)
        figure.draw_without_rendering()  # limits are final then
    for side, x, align in zip(sides, (-0.16, 1.04), ("right", "left"), strict=True):
        heights = [float(ax.transAxes.inverted().transform(ax.transData.transform(p[1:3]))[1]) for p in side]
        for (name, bits, error, ours), y in zip(side, spread(heights, LINE / (height - 1.0)), strict=True):
            line = {"arrowstyle": "-", "linewidth": 0.4, "color": COLOURS[ours], "alpha": 0.6}
            line["relpos"] = (1 if align == "right" else 0, 0.5)
            style = {"fontsize": SIZE, "color": COLOURS[ours], "va": "center", "ha": align, "arrowprops": line}
            ax.annotate(name, (bits, error), xytext=(x, y), textcoords="axes fraction", **style)
    return figure


def shown(rows: Sequence[dict]) -> list[tuple[str, float, float, bool]]:
    """(name, bits per weight, latents off, whether it is this pack's) of what differs: quantized files with the
    original text encoder, of ours those on the kernels of SHOWN, and of rows with equal figures the first."""
    found, seen = [], set()
    for row in rows:
        if row["error"] or row["text"] != ORIGINAL or not row["latent_error"] or row["bits"] >= UNQUANTIZED:
            continue
        ours, name = row["loader"] == OURS, row["name"]
        if ours:
            name, _, kernel = name.removesuffix(")").partition(" (")
            name = f"{name}{SHOWN[kernel]}" if kernel in SHOWN else None
        figures = (ours, f"{row['bits']:.2f}", f"{row['latent_error']:.3g}")
        if name is not None and figures not in seen:
            seen.add(figures)
            found.append((name, row["bits"], row["latent_error"], ours))
    return found


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Heights in 0 to 1, at least `gap` apart, that differ from the wanted ones, which ascend, by as little as possible
    in the sum of squares: pool adjacent violators, the algorithm of isotonic regression."""
    pools: list[tuple[float, int]] = []  # mean height without the gaps, and how many heights have it
    for place, height in enumerate(wanted):
        mean, count = height - place * gap, 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        pools.append((mean, count))
    highest = 1 - gap * (len(wanted) - 1)
    flat = [min(max(mean, 0.0), highest) for mean, count in pools for _ in range(count)]
    return [height + place * gap for place, height in enumerate(flat)]
