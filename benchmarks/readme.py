"""README's tables from the results that are kept: run as a module, it writes them between their markers."""

import json
from collections.abc import Callable
from pathlib import Path

from .. import scheme_table
from . import tables
from .fidelity.section import fidelity_section
from .train_demo.section import training_section

ROOT = Path(__file__).parents[1]
README, RESULTS = ROOT / "README.md", ROOT / "benchmarks" / "results"
# the command of results that were written before they named it
COMMAND = "x2v-quant bench"


def bench_section() -> str:
    """One block per machine: what it is, the command that measures it again, and its tables."""
    return "\n\n".join(
        _machine(json.loads(file.read_text(encoding="utf-8"))) for file in sorted(RESULTS.glob("*.json"))
    )


def schemes_section() -> str:
    return scheme_table.markdown(scheme_table.table()["schemes"])


# marker -> its text; a marker is a pair of comments, <!-- NAME:begin --> and <!-- NAME:end -->
SECTIONS: dict[str, Callable[[], str]] = {
    "schemes": schemes_section,
    "bench": bench_section,
    "fidelity": fidelity_section,
    "training": training_section,
}


def updated(text: str) -> str:
    """`text` with every section written anew. Raises ValueError if a marker is missing."""
    for name, section in SECTIONS.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, opened, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not opened or not closed:
            raise ValueError(f"README.md has no {begin} ... {end}: add the two comments where the {name} tables belong")
        text = f"{before}{begin}\n{section()}\n{end}{after}"
    return text


def _machine(report: dict) -> str:
    command = f"python dev.py exec {report.get('command', COMMAND)} --results benchmarks/results"
    blocks = [f"**{tables.about(report)}**, {report['date']}", f"```\n{command}\n```"]
    blocks += tables.comparisons(report["cases"])
    absent = tables.absences(report["cases"])
    if absent:
        blocks.append("\n".join(["Not measured here:", "", *absent]))
    return "\n\n".join(blocks)


def main() -> None:
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
