"""Tables of what was measured, with a column per peer."""

from collections.abc import Iterable

from ..common import markdown
from ..kernels.timing.listing import ABSENT, number, promise, share, split


def comparisons(cases: list[dict]) -> list[str]:
    """A table per part, or per set of peers where a case names no part: a row per thing measured with our figure, and a
    column per peer with the ratio. Blank where nothing was measured; no table where nothing at all was."""
    return [_comparison(part, rows) for part, rows in _grouped(cases) if any(map(_measured, rows.values()))]


def _measured(found: list[dict]) -> bool:
    return any(case["ratio"] is not None for case in found)


def _grouped(cases: Iterable[dict]) -> list[tuple[str, dict[str, list[dict]]]]:
    """(part, what -> its cases) in order."""
    things: dict[tuple[str | None, str], list[dict]] = {}
    for case in cases:
        things.setdefault((case.get("part"), split(case)[0]), []).append(case)
    tables: dict[object, dict[str, list[dict]]] = {}
    for (part, what), found in things.items():
        tables.setdefault(part or tuple(split(case)[1] for case in found), {})[what] = found
    return [(key if isinstance(key, str) else "case", rows) for key, rows in tables.items()]


def _comparison(part: str, rows: dict[str, list[dict]]) -> str:
    peers = list(dict.fromkeys(split(case)[1] for found in rows.values() for case in found if case["ratio"]))
    table = []
    for what, found in rows.items():
        cells = {split(case)[1]: _ratio(case) for case in found}
        table.append((what, _ours(found), *(cells.get(peer, "") for peer in peers)))
    return markdown.table((part, "ours", *peers), table, right=range(1, 2 + len(peers)))


def _ours(found: list[dict]) -> str:
    """One figure, or the range of those that ours had against different peers."""
    values = sorted({case["ours"] for case in found if case["ours"] is not None})
    unit = found[0]["unit"]
    ends = dict.fromkeys(number(value) for value in (values[0], values[-1])) if values else [ABSENT]
    return f"{' to '.join(ends)} {unit}" if values else ABSENT


def _ratio(case: dict) -> str:
    if case["ratio"] is None:
        return ABSENT
    promised = promise(case)
    return f"{share(case, case['ratio'])} ({promised})" if promised else share(case, case["ratio"])
