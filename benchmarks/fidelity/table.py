"""The result for a person, in Markdown."""

from ...common import markdown
from ...common.decibels import CEILING
from ...kernels.timing import listing
from .scores import ASPECTS, summary
from .wide_layer import LOUD, LOUDEST, QUIETEST, ROWS

HEADS = (
    "weights and activations",
    "file MB",
    "bits per weight",
    "weights dB",
    "layers dB: median, worst",
    "latents off",
    "PSNR dB",
    "SSIM",
    "prompts right",
    "never trained, right",
)
# of a run in which contestants took turns: field of a row -> what it is called, in how many of its units, its digits
TIMES = {"load_s": ("load ms", 1e3, 0), "peak_mb": ("peak MB", 1.0, 1), "step_ms": ("step ms", 1.0, 1)}


def table(report: dict) -> str:
    """A row per contestant, ours by the name of format and kernel; a failed one is a row with its error."""
    timed = any(not row["error"] and row["load_s"] is not None for row in report["contestants"])
    heads = [*HEADS, *(words for words, _, _ in TIMES.values() if timed)]
    rows = [(row["name"], *_cells(row, timed)) for row in report["contestants"]]
    return markdown.table(heads, [(*row, *[""] * (len(heads) - len(row))) for row in rows], right=range(1, len(heads)))


def wide_table(report: dict) -> str:
    """What is left of the output of single wide layers, in dB; nothing where none was measured."""
    if not report["wide"]:
        return ""
    widths = list(report["wide"][0]["output_snr"])
    rows = [
        (row["name"], f"{row['bits']:.2f}", *(_decibels(row["output_snr"][width]) for width in widths))
        for row in report["wide"]
    ]
    return markdown.table(("single layers", "bits per weight", *widths), rows, right=range(1, len(widths) + 2))


def notes(report: dict) -> list[str]:
    """What one has to know to read the table, what was promised and what is missing: a paragraph each."""
    settings, aspects = report["settings"], ", ".join(ASPECTS)
    baseline = next(row for row in report["contestants"] if row["name"] == settings["baseline"])
    return [
        f"{settings['cases']} prompts and seeds, {settings['held_out']} of them combinations that were never trained, "
        f"on the demo's Wan of {settings['parameters'] / 1e6:.1f} million values: {settings['steps']} steps, "
        f"{settings['sampler']}, cfg {settings['cfg']:g}, shift {settings['shift']:g}. Distances are to "
        f"{baseline['name']}, which computed in {baseline['compute']} here, and means over the videos. *bits per "
        "weight*: of the quantized layers in the file, with their scales; *weights*: "
        "signal to noise of all quantized weights together; *layers*: of each layer's output on up to "
        f"{settings['recorded_rows']} recorded inputs; *latents off*: |z - z0| / |z0|; *prompts right*: read off the "
        f"pixels, all three of {aspects} (each of them). *reference* computes what a GPU's kernels do, quantized "
        "activations included. *exact*: no more than float32's rounding.",
        *([_wide_note()] if report["wide"] else []),
        *[_promise(promise) for promise in report["promises"]],
        *report["missing"],
    ]


def _wide_note() -> str:
    return (
        f"*Single layers*: {ROWS} rows of a synthetic weight with so many columns; their outputs, in dB. "
        "The channels of their inputs go together, as those of real ones do: the variances of the principal components "
        f"fall as 1 / i. *outliers*: {LOUD:.0%} of the channels are {QUIETEST:g} to {LOUDEST:g} times as large."
    )


def lines(report: dict) -> list[str]:
    """The report for a person."""
    tables = [*table(report).splitlines(), "", *wide_table(report).splitlines()]
    return [*tables, "", *notes(report), "", listing.about(report)]


def _cells(row: dict, timed: bool) -> list[str]:
    size = [f"{row['file_mb']:.2f}", f"{row['bits']:.2f}"]
    if row["error"]:
        return [*size, f"failed: {row['error'].replace('|', '/')}"]
    layers = summary(row["layers"])
    return [
        *size,
        _decibels(layers["weight_snr"]),
        f"{_decibels(layers['output_median'])}, {_decibels(layers['output_worst'])}",
        f"{row['latent_error']:.2%}",
        _decibels(row["psnr"]),
        f"{row['ssim']:.4f}",
        _accuracy(row["accuracy"]),
        _accuracy(row["accuracy_held_out"]),
        *(f"{row[name] * unit:.{digits}f}" for name, (_, unit, digits) in TIMES.items() if timed),
    ]


def _decibels(value: float) -> str:
    return "exact" if value >= CEILING else f"{value:.1f}"


def _accuracy(shares: dict[str, float] | None) -> str:
    if shares is None:
        return ""
    return f"{shares['all']:.0%} ({', '.join(f'{shares[aspect]:.0%}' for aspect in ASPECTS)})"


def _promise(promise: dict) -> str:
    verdict = "met" if promise["met"] else "MISSED"
    return f"{promise['name']}: {promise['got']:g}, promised {promise['bound']} {promise['limit']:g}, {verdict}."
