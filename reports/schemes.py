"""x2v-quant schemes: every scheme with its format, what its own kernel needs, and whether that runs here."""

import argparse

from ..common.markdown import table as markdown_table
from ..formats import FORMATS, family
from ..kernels import KERNELS, why_not
from ..kernels.machine import default_device, describe
from ..schemes import SCHEMES, Scheme

MISSING = "not part of this version"


def run(options: argparse.Namespace) -> dict:
    return table()


def table() -> dict:
    """{"machine", "schemes": [{"scheme", "aliases", "format" (None: the file's), "kernel", "needs": [words],
    "reason": None if its own kernel runs here, else why not}]}."""
    machine = describe(default_device())
    rows = []
    for row in SCHEMES:
        reason = None
        if row.format is not None:
            reason = why_not(row.kernel, row.format, machine) if row.format in FORMATS else f"{row.format} is {MISSING}"
        rows.append(
            {
                "scheme": row.name,
                "aliases": list(row.aliases),
                "format": row.format,
                "kernel": row.kernel,
                "needs": _needs(row),
                "reason": reason,
            }
        )
    return {"machine": str(machine), "schemes": rows}


def _needs(row: Scheme) -> list[str]:
    """The requirements of the scheme's kernel, a line for each alternative."""
    if row.format is None:
        return []
    rows = [k for k in KERNELS if k.name == row.kernel and family(k.format) == row.format]
    return list(dict.fromkeys(kernel.requires.words() for kernel in rows)) or [MISSING]


def markdown(rows: list[dict]) -> str:
    """The columns of `table` that are the same on every machine, as Markdown."""
    cells = [(f"`{row['scheme']}`", row["format"] or "any", "; or ".join(row["needs"]) or "nothing") for row in rows]
    return markdown_table(("scheme", "format", "its own kernel needs"), cells)


def lines(found: dict) -> list[str]:
    """`table` as text."""
    result = [f"{found['machine']}:"]
    for row in found["schemes"]:
        verdict = "its own kernel runs here" if row["reason"] is None else f"another kernel stands in: {row['reason']}"
        if row["kernel"] is None:
            verdict = "the best kernel of this machine for the file's format"
        result.append(f"{row['scheme']} ({row['format'] or 'any format'}): {verdict}")
    return result
