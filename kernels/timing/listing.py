"""Results as a Markdown list of every case, with the machine that they are of."""

from ...common.markdown import table
from .case import MEMORY

KERNELS = "kernels"  # the part whose cases are called FORMAT KERNEL SHAPE vs PEER
ABSENT = "-"
HEADS = ("case", "ours", "theirs", "ratio", "promised")


def lines(report: dict) -> list[str]:
    """The report for a person: what it comes to, then every case."""
    cases = report["cases"]
    return [*verdict(report), "", *listing(cases).splitlines(), *absences(cases), "", about(report)]


def verdict(report: dict) -> list[str]:
    """A line on the formats, where kernels were measured, and one on the promises, where there are any."""
    if "--quick" in report["command"]:
        return ["Everything ran. The sizes are small, so the figures say nothing about real speed."]
    promised = [case for case in report["cases"] if case["target"] is not None]
    missed = [case["name"] for case in promised if not case["met"]]
    found = formats(report["cases"])
    if missed:
        found.append(f"{len(missed)} of {len(promised)} promises missed: {', '.join(missed)}.")
    elif promised:
        found.append(f"Promises: {len(promised)} of {len(promised)} met.")
    return found or ["Nothing is promised of these cases: the figures are for information."]


def formats(cases: list[dict]) -> list[str]:
    """Which formats are faster than 16 bits here: of each its kernel with the highest ratio, at any of the shapes."""
    best: dict[str, tuple[float, str]] = {}
    for case in cases:
        if case["part"] == KERNELS and case["ratio"] is not None:
            name, kernel, _ = case["name"].split(" ", 2)
            best[name] = max(best.get(name, (0.0, "")), (case["ratio"], kernel))
    faster = [f"{name} ({kernel}, {ratio:.2f}x)" for name, (ratio, kernel) in best.items() if ratio > 1]
    slower = [name for name, (ratio, _) in best.items() if ratio <= 1]
    found = [f"Faster than 16 bits here: {', '.join(faster)}."] if faster else []
    return found + ([f"Not faster here, saves memory only: {', '.join(slower)}."] if slower else [])


def about(report: dict) -> str:
    """The machine and the versions, in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    cpu = f"{report['cpu']['name']} with {report['threads']} threads ({' '.join(report['cpu']['flags'])})"
    device = "" if report["machine"].startswith("CPU") else f"{report['machine']}, "
    return f"{device}{cpu}, {versions}"


def listing(cases: list[dict]) -> str:
    """A row per case: medians, and for each promised ratio whether it was met."""
    rows = []
    for case in cases:
        figures = (figure(case[side], case["unit"]) for side in ("ours", "theirs"))
        ratio = ABSENT if case["ratio"] is None else share(case, case["ratio"])
        rows.append((case["name"], *figures, ratio, promise(case)))
    return table(HEADS, rows, right=range(1, 4))


def absences(cases: list[dict]) -> list[str]:
    """A line for each peer that was not measured, or not everywhere: the first case of each reason, and how many more
    there are."""
    found: dict[tuple[str, str], list[dict]] = {}
    for case in cases:
        if case.get("absent"):
            found.setdefault((split(case)[1], _kind(case["absent"])), []).append(case)
    return [
        f"- {peer} {alike[0]['absent']} ({split(alike[0])[0]}{f'; {len(alike) - 1} more' if alike[1:] else ''})"
        for (peer, _), alike in found.items()
    ]


def _kind(reason: str) -> str:
    """A reason without its figures."""
    return "".join(letter for letter in reason if not letter.isdigit())


def split(case: dict) -> tuple[str, str]:
    what, _, peer = case["name"].rpartition(" vs ")
    return what, peer


def promise(case: dict) -> str:
    if case["target"] is None:
        return ""
    sign = "<=" if case["unit"] in MEMORY else ">="
    return f"{sign} {share(case, case['target'])} {'met' if case['met'] else 'MISSED'}"


def share(case: dict, ratio: float) -> str:
    """How many times as fast, or what share of their memory."""
    return f"{ratio:.0%}" if case["unit"] in MEMORY else f"{ratio:.2f}x"


def figure(value: float | None, unit: str) -> str:
    return ABSENT if value is None else f"{number(value)} {unit}"


def number(value: float) -> str:
    return f"{value:.4g}" if value < 1000 else f"{value:.0f}"
