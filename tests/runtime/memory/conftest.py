"""Small Wan files in every format, loaded, and reports on them."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from x2v_quant.benchmarks.models import write_pair
from x2v_quant.benchmarks.wan import WanSize


@dataclass(frozen=True)
class Files:
    dense: Path
    quantized: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """files(kind, as the demo's writer calls a format) -> the same small Wan in bf16 and in that format."""
    written = {}

    def get(kind="int8"):
        if kind not in written:
            written[kind] = Files(*map(Path, write_pair(tmp_path_factory.mktemp(kind), WanSize(), kind)))
        return written[kind]

    return get


@pytest.fixture
def load(files):
    """load(kind) -> MODEL; in the mode that ComfyUI's executor has."""
    from x2v_quant.loading.dit import load_dit

    with torch.inference_mode():
        yield lambda kind="int8": load_dit(str(files(kind).quantized))


@pytest.fixture(scope="session")
def peak():
    from x2v_quant.runtime.memory import PeakCounter

    return PeakCounter().read("no run")


@pytest.fixture
def component(peak):
    """component(patcher) -> what is measured of it alone."""
    from x2v_quant.runtime.memory import measure

    return lambda patcher: measure({"model": patcher}, peak).components[0]
