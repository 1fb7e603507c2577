"""The advice in words."""

from ..common.markdown import table
from ..common.sizes import amount

HEADS = ("format", "computed as", "rounding", "offload mode", "VRAM", "at least", "RAM", "off 16 bits", "speed")
RIGHT = range(4, len(HEADS))
ACTIVATIONS = {"float": "16 bits"}
# a difference in speed below this is none
SAME = 0.05
VRAM, DISK = "VRAM", "disk"
SMALLER = "Make fewer frames or a smaller picture, or take a smaller model."


def lines(report: dict) -> list[str]:
    """What to take, on one line; what was asked; the table; what the figures are."""
    rows = report["advice"]
    found = [first_line(report), "", _asked(report)]
    found += ["", *table(HEADS, [_cells(report, row) for row in rows], RIGHT).split("\n"), ""]
    return [*found, *_how(rows[0]), *_figures(report), *report["notes"]]


def first_line(report: dict) -> str:
    """Like "Take int8-convrot, ...": the format, its rounding, where the weights are, what it gains and loses."""
    best = report["advice"][0]
    if not best["fits"]:
        return _too_large(report, best)
    what = f"Take {best['format']}" + (f" ({_rounded(best['loss'])})" if best["loss"]["percent"] else "")
    return f"{what}, offload mode {best['place']['mode']}: {_where(report, best)}.{_gained(report, best)}"


def _how(best: dict) -> list[str]:
    """How to get such a file."""
    if not best["scheme"]:
        return []
    loss = best["loss"]
    calibration = " --calibration CALIBRATION" if loss["calibrated"] else ""
    how = f"To make it: x2v-quant convert FILE OUT --format {best['format']}{calibration}"
    if not loss["calibrated"]:
        return [f"{how}. The scheme is {best['scheme']}."]
    without = f"without it, it was {loss['plain']:g} % off 16 bits"
    return [f"{how}. The node Calibrate records a calibration; {without}. The scheme is {best['scheme']}."]


def _too_large(report: dict, row: dict) -> str:
    """ComfyUI's figures are cautious: it runs models for which it would reserve more than there is."""
    lacks, place = row["place"]["lacks"], row["place"]
    needs = f"{amount(place['least'] if lacks == VRAM else place['ram'])} of {lacks}"
    there = amount(report["vram"] if lacks == VRAM else report["ram"])
    return f"It may stop for lack of memory: with {row['format']} it takes {needs}, and there are {there}. {SMALLER}"


def _where(report: dict, row: dict) -> str:
    where = "in RAM" if report["vram"] is None else "on the card"
    place = row["place"]
    if not place["streamed"]:
        return f"all {amount(row['weights'])} of weights stay {where}"
    source = "the file" if report["vram"] is None or place["mode"] == DISK else "RAM"
    stays = f"{amount(place['resident'])} of {amount(row['weights'])} of weights stay {where}"
    return f"{stays}, the rest comes from {source} in every step"


def _rounded(loss: dict) -> str:
    return f"{loss['rounding']}, with a calibration" if loss["calibrated"] else f"rounding {loss['rounding']}"


def _gained(report: dict, row: dict) -> str:
    loss = f" In our test it was {row['loss']['percent']:g} % off 16 bits." if row["loss"]["percent"] else ""
    if not report["timed"] or row["gain"] < 1 + SAME:
        return loss
    plain = next(one for one in report["advice"] if not one["scheme"])
    from_file = plain["place"]["mode"] == DISK and row["place"]["mode"] != DISK
    why = ", which come from their file in every step" if from_file else ""
    return f" Estimated {row['gain']:.1f} times as fast as 16 bits{why}.{loss}"


def _asked(report: dict) -> str:
    vram = "no GPU" if report["vram"] is None else f"{amount(report['vram'])} VRAM"
    of_these = f", of these {amount(report['activations'])} for what is between the layers"
    return (
        f"{report['model']} at {report['size']} on {report['machine']}, {vram}, {amount(report['ram'])} RAM"
        f"{of_these if report['vram'] else ''}."
    )


def _cells(report: dict, row: dict) -> tuple[str, ...]:
    place, loss = row["place"], row["loss"]
    computed = ACTIVATIONS.get(row["activation"], row["activation"])
    return (
        row["format"],
        f"{computed} (saves memory only)" if row["weights_only"] else computed,
        _rounded(loss) if loss["percent"] else "none",
        place["mode"] if row["fits"] else f"too little {place['lacks']}",
        amount(place["vram"]) if report["vram"] else "-",
        amount(place["least"]) if report["vram"] else "-",
        amount(place["ram"]),
        f"{loss['percent']:g} %" + (f" ({loss['plain']:g} % without)" if loss["calibrated"] else ""),
        f"{row['gain']:.2f}x" if report["timed"] else "-",
    )


def _figures(report: dict) -> list[str]:
    found = [
        "VRAM: weights that stay on the card, the values between the layers as ComfyUI reserves them, and what it "
        "keeps free. RAM: with 10 GB for the system and a text encoder.",
        "off 16 bits: measured with the small model of the demo; other models lose more or less.",
    ]
    if report["timed"]:
        stands = f" The figures are those of {report['stands_in']}." if report["stands_in"] else ""
        found.append(
            "speed: an estimate, from data sheets and the model's sizes. Nothing was timed: run x2v-quant bench."
            + stands
        )
    return found
