"""Weights that stay in their file: a model of Wan 1.3B's shape in less memory than it has bytes."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from x2v_quant.benchmarks import random_file, shapes

pytestmark = pytest.mark.slow

# where Linux limits the memory of a process together with the pages of its files
GROUPS = Path("/sys/fs/cgroup/memory")
BLOCKS = 12
ACTIVATIONS = 100_000_000


@pytest.fixture(scope="module")
def specs(comfyui):
    return random_file.specs(shapes.WAN_1_3B, BLOCKS, "int8")


@pytest.fixture(scope="module")
def file(specs, tmp_path_factory) -> Path:
    """0.7 GB of small random numbers."""
    path = tmp_path_factory.mktemp("wan") / "wan2.1_t2v_1.3b_int8.safetensors"
    random_file.write(path, specs)
    yield path
    path.unlink()


def run(file, *arguments) -> dict:
    script = Path(__file__).with_name("disk_run.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, str(script), str(file), *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def free(file) -> dict:
    """What a run without a limit says."""
    return run(file)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells memory that no file backs")
def test_anonymous_memory_holds_what_is_in_no_block_and_three_blocks(free, specs):
    blocks = sum(spec.nbytes for name, spec in specs.items() if name.startswith("blocks."))
    others = sum(spec.nbytes for spec in specs.values()) - blocks
    assert math.isfinite(free["sum"])
    assert free["rise"] <= others + 3 * blocks / BLOCKS + ACTIVATIONS


@pytest.mark.skipif(not os.access(GROUPS, os.W_OK), reason="no memory control groups to be limited by")
def test_it_samples_under_a_limit_smaller_than_the_file(file, free):
    limited = run(file, int(file.stat().st_size * 0.75))
    assert limited["sum"] == free["sum"]
