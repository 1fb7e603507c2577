"""The report on a checkpoint in words."""

from ..checkpoints import Problem
from ..common.sizes import amount
from ..families.family import UNKNOWN
from ..rounding.record import Record
from ..schemes.verdict import short

# kind -> the nodes that quantize and save such a model; a command does it for every kind
QUANTIZERS = {
    "dit": "Quantize Model and Save Quantized Model",
    "t5": "Quantize CLIP and Save Quantized CLIP",
}
COMMAND = "x2v-quant convert"
# most problems in the text; the JSON has all
MOST_PROBLEMS = 20


def verdict(report: dict) -> str:
    """Whether the file is good, and the node to use, in one line."""
    problems = report["problems"]
    if report["elsewhere"]:
        return f"{report['model'][0].upper()}{report['model'][1:]}. {report['elsewhere']}"
    if problems:
        others = len(problems) - 1
        more = f" And {others} more problem{'s' * (others > 1)}." if others else ""
        return f"Not OK: {Problem(**problems[0])}{more}"
    if not report["formats"]:
        return f"Not quantized: {report['model']}. {_unquantized(report)}"
    formats = " and ".join(dict.fromkeys(map(short, report["formats"])))
    return (
        f"OK. {report['model']} {formats}. Use {report['loader']}.{' Read the note below.' if report['notes'] else ''}"
    )


def _unquantized(report: dict) -> str:
    """What to do with a file that is whole and not quantized. One that no loader takes, no node can quantize."""
    if not report["loader"]:
        return f"Make an int8 or fp8 file of it with {COMMAND}."
    how = " or ".join(filter(None, (QUANTIZERS.get(report["kind"]), COMMAND)))
    return f"Use {report['loader']}, or quantize it with {how}."


def lines(report: dict) -> list[str]:
    """The verdict, then the report as text; of a file that cannot be read there is no more to say. The verdict has the
    first problem."""
    if not report["files"]:
        return [verdict(report)]
    problems, known = report["problems"], "" if report["kind"] == UNKNOWN else f" ({report['kind']})"
    head = [verdict(report), "", f"{report['path']}: {report['model']}{known}"]
    sizes = {name: amount(value) for name, value in report["bytes"].items()}
    count = len(report["files"])
    head.append(
        f"{count} file{'s' * (count > 1)}, {sizes['total']} of weights: "
        f"{sizes['quantized']} quantized, {sizes['kept']} kept as they are"
    )
    table = _table(("quantized layers", "format", "layers"), [_with_origin(group) for group in report["layer_groups"]])
    table += _table(("kept as they are", "dtype", "tensors"), report["kept"])
    if report["rounding"]:
        head += Record.said(report["rounding"]).lines()
    tail = [f"note: {note}" for note in report["notes"]]
    if report["schemes"]:
        own = [name for name in report["schemes"] if name not in report["fallbacks"]]
        tail.append(f"schemes that run here: {', '.join(own)}")
    if report["fallbacks"]:
        tail.append(f"schemes that another kernel would compute here: {', '.join(report['fallbacks'])}")
    if report["unread"]["tensors"]:
        unread = report["unread"]
        large = f"{unread['tensors']} large tensor{'s' * (unread['tensors'] > 1)}"
        tail.append(f"not checked: the codes, and the values of {large} ({amount(unread['bytes'])})")
    if not problems:
        tail.append("problems: none")
    others = problems[1:]
    tail += [f"problem: {Problem(**problem)}" for problem in others[:MOST_PROBLEMS]]
    if len(others) > MOST_PROBLEMS:
        tail.append(f"and {len(others) - MOST_PROBLEMS} more problems (--json lists all)")
    return [*head, *table, *(["", *tail] if tail else [])]


def _with_origin(group: dict) -> dict:
    return {**group, "format": f"{group['format']} ({group['origin']})"} if group["origin"] else group


def _table(titles: tuple[str, str, str], groups: list[dict]) -> list[str]:
    if not groups:
        return []
    rows = [(*titles, "size")]
    rows += [(g["group"], g[titles[1]], str(g[titles[2]]), amount(g["bytes"])) for g in groups]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["", *(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in rows)]
