"""The memory that is said to be needed for a layer is enough, and not much more than that."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from x2v_quant.formats import FORMATS
from x2v_quant.formats.int8_convrot import DEFAULT_GROUP
from x2v_quant.rounding import METHODS
from x2v_quant.rounding.room import room

SCRIPT = Path(__file__).with_name("peak_of_rounding.py")
# one of each layout
USUAL = {name: row for name, row in reversed(FORMATS.items()) if row.rotation <= DEFAULT_GROUP}
NAMES = list({row.layout_name: name for name, row in USUAL.items()}.values())
SEARCHED = [name for name in NAMES if FORMATS[name].grid is not None and FORMATS[name].grid.factors]
MOST = 1.3
# glibc gives back what is freed: by itself it keeps some of it, other amounts each time
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
# (method, its formats, N, K, tokens): many values, or a Hessian that is larger than they are
CASES = {
    "nearest": ("nearest", NAMES, 16384, 1024, 0),
    "mse": ("mse", SEARCHED, 12288, 1024, 0),
    "gptq": ("gptq", NAMES, 8192, 512, 512),
    "gptq-wide": ("gptq", ["w4a8", "nvfp4", "int4-g128"], 256, 2048, 1024),
}
# the feed-forward layers of Wan 14B
LAYERS = [(5120, 13824), (13824, 5120)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a moment is known on Linux")
@pytest.mark.parametrize("case", CASES)
def test_it_is_enough_and_little_more(case):
    method, names, *numbers = CASES[case]
    command = [sys.executable, str(SCRIPT), *map(str, numbers), method, *names]
    result = subprocess.run(command, env={**os.environ, **GIVES_BACK}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found.keys() == set(names)
    wrong = {name: seen for name, seen in found.items() if not seen["peak"] <= seen["room"] <= MOST * seen["peak"]}
    assert wrong == {}


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("method", ["nearest", "mse", "gptq"])
@pytest.mark.parametrize("name", [name for name in NAMES if not FORMATS[name].smooth])
def test_the_widest_layers_take_less_than_3_gb(name, method, kind):
    for shape in LAYERS:
        assert room(shape, FORMATS[name], METHODS[method], 2048, torch.device(kind)) < 3e9
