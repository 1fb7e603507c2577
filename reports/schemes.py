"""x2v-quant schemes: every scheme with its format, what its own kernel needs, and whether that runs here."""

import argparse

from ..common.markdown import table as markdown_table
from ..formats import FORMATS, family
from ..kernels import FAST, KERNELS, MEMORY, TESTS, UNTESTED, Kernel, choose, in_words, running, why_not
from ..kernels.machine import Machine, default_device, describe
from ..schemes import AUTO, SCHEMES, Scheme

MISSING = "needs a newer ComfyUI"


def run(options: argparse.Namespace) -> dict:
    return table()


def table(machine: Machine | None = None) -> dict:
    """{"machine", "schemes": [{"scheme", "aliases", "format" (None: the file's), "kernel", "needs": [words], "reason":
    None if its own kernel runs here, else why not, "runs_by": the kernel that computes it here, None where that depends
    on the file or is none, "good_for" of that kernel}]}."""
    machine = machine or describe(default_device())
    return {"machine": str(machine), "schemes": [_row(row, machine) for row in SCHEMES]}


def _row(row: Scheme, machine: Machine) -> dict:
    reason = None
    if row.format is not None:
        reason = why_not(row.kernel, row.format, machine) if row.format in FORMATS else f"{row.format} {MISSING}"
    kernel = _computed_by(row, machine)
    return {
        "scheme": row.name,
        "aliases": list(row.aliases),
        "format": row.format,
        "kernel": row.kernel,
        "needs": _needs(row),
        "reason": reason,
        "runs_by": kernel and kernel.name,
        "good_for": kernel and in_words(kernel.good_for, machine),
    }


def _computed_by(row: Scheme, machine: Machine) -> Kernel | None:
    """The kernel that computes a scheme here."""
    if row.format in FORMATS:
        return choose(row.format, machine, prefer=row.kernel).kernel
    # dequant and reference compute every format
    return running(row.kernel, next(iter(FORMATS)), machine) if row.format is None and row.kernel else None


def _needs(row: Scheme) -> list[str]:
    """The requirements of the scheme's kernel, a line for each alternative."""
    if row.format is None:
        return []
    rows = [k for k in KERNELS if k.called(row.kernel) and family(k.format) == row.format]
    # rows that share the scheme's name: the last asks for the least
    rows = [k for k in rows if k.alias != row.kernel] or rows[-1:]
    return list(dict.fromkeys(kernel.requires.words() for kernel in rows)) or [MISSING]


def markdown(rows: list[dict]) -> str:
    """The columns of `table` that are the same on every machine, as Markdown."""
    cells = [(f"`{row['scheme']}`", row["format"] or "any", "; or ".join(row["needs"]) or "nothing") for row in rows]
    return markdown_table(("scheme", "format", "its own kernel needs"), cells)


def lines(found: dict) -> list[str]:
    """What to pick, then `table` as text: the schemes whose own kernel runs here, by what they are good for, then the
    others by the reason why it does not."""
    result = [
        f"Leave the scheme on {AUTO}: it takes the best kernel of this machine for the file.",
        "",
        found["machine"],
    ]
    groups: dict[str, list[str]] = {}
    for row in found["schemes"]:
        if row["scheme"] != AUTO:
            groups.setdefault(_title(row), []).append(_line(row))
    titles = [*(title for title in (FAST, UNTESTED, MEMORY, TESTS) if title in groups)]
    for title in [*titles, *(title for title in groups if title not in titles)]:
        result += ["", f"{title}:", *groups[title]]
    return result


def _title(row: dict) -> str:
    if row["reason"] is None:
        return row["good_for"]
    return f"with another kernel here ({row['reason']})" if row["runs_by"] else MISSING


def _line(row: dict) -> str:
    name = f"- {row['scheme']} ({row['format'] or 'any format'})"
    return f"{name}, runs here by: {row['runs_by']}" if row["runs_by"] else name
