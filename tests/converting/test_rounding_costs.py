"""What GPTQ costs: memory of the widest layers, and a minute for the demo's model."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recorded_inputs import recorded

from x2v_quant.benchmarks import models
from x2v_quant.benchmarks.wan import WanSize, dit
from x2v_quant.checkpoints.encodings import X2V
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.demo import assets

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("peak_of_rounding.py")
# the feed-forward layer of Wan 14B, with fewer rows: those are rounded some at a time
WIDE = WanSize(dim=256, ffn=13824, blocks=1, text=64)
TOKENS = 2048
MOST = 3_000_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a moment is known on Linux")
def test_a_layer_of_13824_channels_takes_less_than_3_gb(tmp_path):
    """All of the process, ComfyUI included."""
    source = models.write(tmp_path, dit(0, WIDE, image_to_video=False), "dit", []).dense
    calibration = tmp_path / "calibration.safetensors"
    seen = recorded(source, TOKENS)
    for layer in [name for name in seen.inputs if name != "blocks.0.ffn.2"]:
        del seen.inputs[layer]
    seen.save(calibration)
    command = [sys.executable, str(SCRIPT), str(source), str(calibration), str(tmp_path / "out.safetensors")]
    result = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert 1_500_000_000 < int(result.stdout.splitlines()[-1]) < MOST


def test_the_demos_model_takes_less_than_a_minute(demo_models, tmp_path):
    source = demo_models / "diffusion_models" / assets.names(assets.ORIGINAL).t2v
    calibration = recorded(source, TOKENS)
    started = time.perf_counter()
    report = convert(source, tmp_path / "out.safetensors", Options("w4a8", X2V, calibration=calibration))
    assert time.perf_counter() - started < 60
    assert report["rounding"] == {"gptq": 40}
