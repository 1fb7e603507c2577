"""What the pack says that a calibration brings is what the last run of x2v-quant fidelity has found."""

import json
from pathlib import Path

import pytest

from x2v_quant import benchmarks
from x2v_quant.benchmarks.fidelity.contestants import ROUNDED, WORDS
from x2v_quant.formats import FORMATS, SMOOTHED, SMOOTHQUANT
from x2v_quant.rounding import method_for
from x2v_quant.rounding.gains import GAINS, Gain
from x2v_quant.rounding.methods import NOTHING

RESULTS = sorted((Path(benchmarks.__file__).parent / "results" / "fidelity").glob("fidelity-*.json"))
# formats with a row of GPTQ
MEASURED = [name for name, ways in ROUNDED.items() if "gptq" in ways and name in FORMATS and not FORMATS[name].smooth]


def rows_of(name):
    """The names of a format's rows: as `auto` rounds it without a calibration, with inputs, only smoothed, and
    as the weights alone."""
    kernel = "dequant" if FORMATS[name].activation == "float" else "reference"
    way = WORDS.get(method_for(name, None, NOTHING).name)
    smooth = SMOOTHED[name] if name in SMOOTHQUANT else None
    with_inputs = smooth if smooth in ROUNDED else name
    return {
        "without": f"{name}, {way} ({kernel})" if way else f"{name} ({kernel})",
        "with_inputs": f"{with_inputs}, GPTQ ({kernel})",
        "smoothed": None if smooth is None else f"{smooth} ({kernel})",
        "weights_only": None if FORMATS[name].activation == "float" else f"{name} (dequant)",
    }


def latents():
    """Row -> % that latents are off, of the newest result."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS]
    newest = max(reports, key=lambda report: report["date"])
    return {row["name"]: round(100 * row["latent_error"], 1) for row in newest["contestants"] if not row["error"]}


@pytest.mark.parametrize("name", MEASURED)
def test_figures_are_those_of_the_last_run(name):
    """Those of its rows; a format whose rows are all there is in the table."""
    found, rows = latents(), {part: row for part, row in rows_of(name).items() if row is not None}
    there = {part: found[row] for part, row in rows.items() if row in found}
    if name not in GAINS and there.keys() != rows.keys():
        pytest.skip(f"the last run has not all of {', '.join(rows.values())}")
    known = {} if name not in GAINS else {part: getattr(GAINS[name], part) for part in rows}
    known = {part: value for part, value in known.items() if value is not None}
    assert known == known | there, f'write into GAINS: "{name}": {Gain(**{**known, **there})}'


def test_a_table_of_nothing_else():
    assert GAINS.keys() <= set(MEASURED)
