"""Quantizing takes the memory of the quantized weights and of two copies of one layer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from x2v_quant.benchmarks import models
from x2v_quant.benchmarks.wan import WanSize, dit

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("peak_of_quantizing.py")
SIZE = WanSize(dim=1536, ffn=8960, blocks=3, text=4096)  # of the 1.3B model: 93 MB a block
LAYERS = 10 * SIZE.blocks
PLAIN, SMOOTH = "plain", "smooth"
COPIES = 2
# glibc gives back what is freed: by itself it keeps from nothing to 100 MB of it, other amounts each time
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    path = models.write(tmp_path_factory.mktemp("dit"), dit(0, SIZE, image_to_video=False), "dit", []).dense
    assert path.stat().st_size > 250e6
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a moment is known on Linux")
@pytest.mark.parametrize("how", [PLAIN, SMOOTH])
def test_the_peak_is_the_weights_and_two_copies_of_the_largest_layer(how, dense):
    command = [sys.executable, str(SCRIPT), str(dense), "int8-channel", how]
    result = subprocess.run(command, env={**os.environ, **GIVES_BACK}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    print(found)
    assert found["smoothed"] == (LAYERS if how == SMOOTH else 0)
    assert found["peak"] > 0.9 * found["weights"]
    assert found["peak"] < found["weights"] + COPIES * found["largest"]
