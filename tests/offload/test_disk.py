"""Weights that stay in their file: a model of Wan 1.3B's shape in less memory than it has bytes."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from x2v_quant.benchmarks import shapes
from x2v_quant.converting.tensor_file import TensorFile
from x2v_quant.converting.units import Spec

# where Linux limits the memory of a process together with the pages of its files
GROUPS = Path("/sys/fs/cgroup/memory")
BLOCKS = 30
ACTIVATIONS = 100_000_000


def wan_1_3b() -> dict[str, Spec]:
    """The tensors of LightX2V's int8 file of Wan 2.1 1.3B text to video."""
    import comfy.ldm.wan.model
    import comfy.ops

    model = shapes.WAN_1_3B
    made = comfy.ldm.wan.model.WanModel(
        dim=model.width,
        ffn_dim=model.mlp,
        num_heads=model.heads,
        num_layers=BLOCKS,
        device="meta",
        dtype=torch.bfloat16,
        operations=comfy.ops.disable_weight_init,
    )
    specs = {}
    for name, tensor in made.state_dict().items():
        linear = name.startswith("blocks.") and tensor.ndim == 2 and name.endswith(".weight")
        specs[name] = Spec(torch.int8 if linear else torch.bfloat16, tuple(tensor.shape))
        if linear:
            specs[f"{name}_scale"] = Spec(torch.bfloat16, (tensor.shape[0], 1))
    return specs


@pytest.fixture(scope="module")
def specs(comfyui):
    return wan_1_3b()


@pytest.fixture(scope="module")
def file(specs, tmp_path_factory) -> Path:
    """1.5 GB of small random numbers."""
    path = tmp_path_factory.mktemp("wan") / "wan2.1_t2v_1.3b_int8.safetensors"
    made = TensorFile(path, specs, {})
    made.open(fresh=True)
    codes = torch.randint(-127, 128, (1 << 24,), dtype=torch.int8, generator=torch.Generator().manual_seed(0))
    for name, spec in specs.items():
        count = math.prod(spec.shape)
        if spec.dtype is torch.int8:
            made.append(name, codes[:count])
        elif name.endswith("_scale"):
            made.append(name, torch.full(spec.shape, 2e-4, dtype=torch.bfloat16))
        else:
            made.append(name, (codes[: count % (1 << 24)].repeat(1)[:count].float() * 2e-4).to(torch.bfloat16))
    made.close(sync=False)
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
