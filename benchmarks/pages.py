"""Tables from the results that are kept: run as a module, it writes those of docs/ between their markers, and the page
with every figure."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ..kernels.timing import listing
from ..reports import schemes as scheme_table
from . import tables
from .fidelity.section import fidelity_section
from .train_demo.section import training_section

ROOT = Path(__file__).parents[1]
DOCS, RESULTS = ROOT / "docs", ROOT / "benchmarks" / "results"
EVERY_FIGURE = RESULTS / "README.md"
# the command of results that were written before they named it
COMMAND = "x2v-quant bench"
# one layer, one block, one matrix: what these parts measure is for the page with every figure only
DETAILS = ("linear", "blocks", "converting")


def bench_section() -> str:
    """One block per machine: what it is, the command that measures it again, and the tables of whole runs."""
    shown = [(report, [case for case in report["cases"] if case.get("part") not in DETAILS]) for report in _reports()]
    return "\n\n".join(_machine(report, cases) for report, cases in shown if cases)


def every_figure() -> str:
    """The page with every figure that is kept, and why others are missing."""
    blocks = ["# Every figure", "Written by `python -m x2v_quant.benchmarks.pages`; quartiles are in the JSON files."]
    for report in _reports():
        blocks.append(_machine(report, report["cases"]))
        absent = listing.absences(report["cases"])
        if absent:
            blocks.append("\n".join(["Not measured here:", "", *absent]))
    return "\n\n".join(blocks) + "\n"


def schemes_section() -> str:
    return scheme_table.markdown(scheme_table.table()["schemes"])


# marker -> its text; a marker is a pair of comments, <!-- NAME:begin --> and <!-- NAME:end -->
SECTIONS: dict[str, Callable[[], str]] = {
    "schemes": schemes_section,
    "bench": bench_section,
    "fidelity": fidelity_section,
    "training": training_section,
}
# page -> the sections that it has
PAGES = {
    DOCS / "formats-and-schemes.md": ("schemes",),
    DOCS / "formats-and-schemes.zh.md": ("schemes",),
    DOCS / "figures.md": ("bench", "fidelity", "training"),
}


def updated(text: str, sections: Sequence[str]) -> str:
    """`text` with these sections, keys of SECTIONS, written anew. Raises ValueError if a marker is missing."""
    for name in sections:
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, opened, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not opened or not closed:
            raise ValueError(f"A page has no {begin} ... {end}: add the two comments where the {name} tables belong")
        text = f"{before}{begin}\n{SECTIONS[name]()}\n{end}{after}"
    return text


def _reports() -> list[dict]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(RESULTS.glob("*.json"))]


def _machine(report: dict, cases: list[dict]) -> str:
    command = f"python dev.py exec {report.get('command', COMMAND)} --results benchmarks/results"
    blocks = [f"**{listing.about(report)}**, {report['date']}", f"```\n{command}\n```", *tables.comparisons(cases)]
    return "\n\n".join(blocks)


def main() -> None:
    for file, sections in PAGES.items():
        file.write_text(updated(file.read_text(encoding="utf-8"), sections), encoding="utf-8", newline="\n")
    EVERY_FIGURE.write_text(every_figure(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
