"""Nothing is left behind by models that take turns, break off and are unloaded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

MEGABYTE = 1 << 20


@pytest.mark.parametrize("mode", ["block", "disk"])
def test_two_models_take_turns_fifty_times(mode, demo_models):
    script = Path(__file__).with_name("alternate.py")
    done = subprocess.run([sys.executable, str(script), str(demo_models), mode], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    # a model of the demo has 1.5 MB, its blocks' buffers 0.6 MB
    assert found["rise"] < 6 * MEGABYTE
    assert found["slots"] == 0
    assert found["readers"] == 0
