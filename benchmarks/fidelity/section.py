"""The part of docs/figures.md: the tables and pictures of the results that are kept."""

import json
from pathlib import Path

from ...kernels.timing import listing
from . import table

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "fidelity"
# what plots.save writes, and what it shows
PICTURES = {
    "videos": "First, middle and last frame of the same prompts and seeds",
    "bits": "Distance of the latents over bits per weight",
    "layers": "Signal to noise of each layer's output",
}


def fidelity_section() -> str:
    """One block per kept result: the machine, the command that measures it again, the table and the pictures."""
    blocks = [_block(file) for file in sorted(RESULTS.glob("*.json"))]
    return "\n\n".join(blocks or [f"No figures are kept yet: `{_command('x2v-quant fidelity')}` makes them."])


def _block(file: Path) -> str:
    report = json.loads(file.read_text(encoding="utf-8"))
    command = _command(report["command"])
    blocks = [f"**{listing.about(report)}**, {report['date']}", f"```\n{command}\n```"]
    blocks += filter(None, [table.table(report), table.wide_table(report), *table.notes(report)])
    for name, words in PICTURES.items():
        picture = file.with_name(f"{file.stem}-{name}.png")
        blocks.append(f"![{words}](../{picture.relative_to(ROOT).as_posix()})")
    return "\n\n".join(blocks)


def _command(words: str) -> str:
    return f"python dev.py exec {words} --results {RESULTS.relative_to(ROOT).as_posix()}"
