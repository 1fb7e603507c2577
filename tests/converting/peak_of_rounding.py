"""Run in a fresh interpreter: converts the widest layer of a file with GPTQ and prints the peak of resident memory."""

import sys
from pathlib import Path

from x2v_quant.calibration import Calibration
from x2v_quant.checkpoints.encodings import X2V
from x2v_quant.common.resident_memory import peak
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.layer_rules import parse_overrides

RULES = tuple(parse_overrides("blocks.* = keep\nffn.2 = int4-g128"))

if __name__ == "__main__":
    source, calibration, target = map(Path, sys.argv[1:])
    report = convert(
        source, target, Options("int4-g128", X2V, overrides=RULES, calibration=Calibration.load(calibration))
    )
    assert report["rounding"] == {"gptq": 1}
    print(peak())
