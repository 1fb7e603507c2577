"""Results as Markdown: a list of every case for the command, tables with a column per peer for README."""

from collections.abc import Iterable

from .case import MEMORY

ABSENT = "-"


def lines(report: dict) -> list[str]:
    """The report for a person."""
    return [listing(report["cases"]), *absences(report["cases"]), "", about(report)]


def about(report: dict) -> str:
    """The machine and the versions, in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    cpu = f"{report['cpu']['name']} with {report['threads']} threads ({' '.join(report['cpu']['flags'])})"
    device = "" if report["machine"].startswith("CPU") else f"{report['machine']}, "
    return f"{device}{cpu}, {versions}"


def listing(cases: list[dict]) -> str:
    """A row per case: medians, and for each promised ratio whether it was met."""
    rows = ["| case | ours | theirs | ratio | promised |", "| --- | ---: | ---: | ---: | --- |"]
    for case in cases:
        figures = (_figure(case[side], case["unit"]) for side in ("ours", "theirs"))
        ratio = ABSENT if case["ratio"] is None else _share(case, case["ratio"])
        rows.append(f"| {case['name']} | {' | '.join(figures)} | {ratio} | {_promise(case)} |")
    return "\n".join(rows)


def comparisons(cases: list[dict]) -> list[str]:
    """A table per part, or per set of peers where a case names no part: a row per thing measured with our figure, and a
    column per peer with the ratio. Blank where nothing was measured; no table where nothing at all was."""
    return [_comparison(part, rows) for part, rows in _grouped(cases) if any(map(_measured, rows.values()))]


def _measured(found: list[dict]) -> bool:
    return any(case["ratio"] is not None for case in found)


def absences(cases: list[dict]) -> list[str]:
    """A line for each peer that was not measured, or not everywhere: the first case of each reason, and how many more
    there are."""
    found: dict[tuple[str, str], list[dict]] = {}
    for case in cases:
        if case.get("absent"):
            found.setdefault((_split(case)[1], _kind(case["absent"])), []).append(case)
    return [
        f"- {peer} {alike[0]['absent']} ({_split(alike[0])[0]}{f'; {len(alike) - 1} more' if alike[1:] else ''})"
        for (peer, _), alike in found.items()
    ]


def _kind(reason: str) -> str:
    """A reason without its figures."""
    return "".join(letter for letter in reason if not letter.isdigit())


def _split(case: dict) -> tuple[str, str]:
    what, _, peer = case["name"].rpartition(" vs ")
    return what, peer


def _grouped(cases: Iterable[dict]) -> list[tuple[str, dict[str, list[dict]]]]:
    """(part, what -> its cases) in order."""
    things: dict[tuple[str | None, str], list[dict]] = {}
    for case in cases:
        things.setdefault((case.get("part"), _split(case)[0]), []).append(case)
    tables: dict[object, dict[str, list[dict]]] = {}
    for (part, what), found in things.items():
        tables.setdefault(part or tuple(_split(case)[1] for case in found), {})[what] = found
    return [(key if isinstance(key, str) else "case", rows) for key, rows in tables.items()]


def _comparison(part: str, rows: dict[str, list[dict]]) -> str:
    peers = list(dict.fromkeys(_split(case)[1] for found in rows.values() for case in found if case["ratio"]))
    table = [f"| {part} | ours | {' | '.join(peers)} |", f"| --- | ---: |{' ---: |' * len(peers)}"]
    for what, found in rows.items():
        cells = {_split(case)[1]: _ratio(case) for case in found}
        table.append(f"| {what} | {_ours(found)} | {' | '.join(cells.get(peer, '') for peer in peers)} |")
    return "\n".join(table)


def _ours(found: list[dict]) -> str:
    """One figure, or the range of those that ours had against different peers."""
    values = sorted({case["ours"] for case in found if case["ours"] is not None})
    unit = found[0]["unit"]
    ends = dict.fromkeys(_number(value) for value in (values[0], values[-1])) if values else [ABSENT]
    return f"{' to '.join(ends)} {unit}" if values else ABSENT


def _ratio(case: dict) -> str:
    if case["ratio"] is None:
        return ABSENT
    promise = _promise(case)
    return f"{_share(case, case['ratio'])} ({promise})" if promise else _share(case, case["ratio"])


def _promise(case: dict) -> str:
    if case["target"] is None:
        return ""
    sign = "<=" if case["unit"] in MEMORY else ">="
    return f"{sign} {_share(case, case['target'])} {'met' if case['met'] else 'MISSED'}"


def _share(case: dict, ratio: float) -> str:
    """How many times as fast, or what share of their memory."""
    return f"{ratio:.0%}" if case["unit"] in MEMORY else f"{ratio:.2f}x"


def _figure(value: float | None, unit: str) -> str:
    return ABSENT if value is None else f"{_number(value)} {unit}"


def _number(value: float) -> str:
    return f"{value:.4g}" if value < 1000 else f"{value:.0f}"
