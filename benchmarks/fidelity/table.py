"""The result for a person, in Markdown."""

from ...common import markdown
from ...common.decibels import CEILING
from ...kernels.timing import listing
from .scores import ASPECTS, summary

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
    "load ms",
    "peak MB",
    "step ms",
)


def table(report: dict) -> str:
    """A row per contestant, ours by the name of format and kernel; a failed one is a row with its error."""
    rows = [(row["name"], *_cells(row)) for row in report["contestants"]]
    return markdown.table(HEADS, rows, right=range(1, len(HEADS)))


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
        *[_promise(promise) for promise in report["promises"]],
        *report["missing"],
    ]


def lines(report: dict) -> list[str]:
    """The report for a person."""
    return [table(report), "", *notes(report), "", listing.about(report)]


def _cells(row: dict) -> list[str]:
    size = [f"{row['file_mb']:.2f}", f"{row['bits']:.2f}"]
    if row["error"]:
        return [*size, f"failed: {row['error'].replace('|', '/')}", *[""] * (len(HEADS) - 4)]
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
        f"{row['load_s'] * 1e3:.0f}",
        f"{row['peak_mb']:.1f}",
        f"{row['step_ms']:.1f}",
    ]


def _decibels(value: float) -> str:
    return "exact" if value >= CEILING else f"{value:.1f}"


def _accuracy(shares: dict[str, float] | None) -> str:
    if shares is None:
        return ""
    return f"{shares['all']:.0%} ({', '.join(f'{shares[aspect]:.0%}' for aspect in ASPECTS)})"


def _promise(promise: dict) -> str:
    verdict = "met" if promise["met"] else "MISSED"
    return f"{promise['name']}: {promise['got']:g}, promised at most {promise['limit']:g}, {verdict}."
