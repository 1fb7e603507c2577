"""How long a conversion will take is said before a weight is looked at, for a file of any size."""

import os

import pytest
import torch
from recorded_inputs import recorded

from x2v_quant.benchmarks.wan import WanSize, dit
from x2v_quant.calibration import Calibration
from x2v_quant.checkpoints.encodings import X2V
from x2v_quant.checkpoints.written_header import written_header
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.converting.source import Source

# sizes that stand for those of Wan 14B, in a model that is quick to make
SMALL = WanSize(dim=384, ffn=640, blocks=1, text=192)
LARGE = {384: 5120, 640: 13824, 192: 4096, 6 * 384: 6 * 5120}
BLOCKS, TOKENS = 40, 2048


class BegunError(Exception):
    """Raised by what is called with the estimate."""


@pytest.fixture(scope="module")
def wan_14b(tmp_path_factory):
    """(a file with Wan 14B's header and no data, shapes)"""
    shapes = {}
    for name, tensor in dit(0, SMALL, image_to_video=False).items():
        shape = tuple(LARGE.get(size, size) for size in tensor.shape)
        for block in range(BLOCKS if name.startswith("blocks.0.") else 1):
            shapes[name.replace("blocks.0.", f"blocks.{block}.")] = shape
    header, ranges = written_header({name: (torch.bfloat16, shape) for name, shape in shapes.items()}, {})
    path = tmp_path_factory.mktemp("wan") / "wan.safetensors"
    with path.open("wb") as file:
        file.write(header)
        file.truncate(max(end for _, end in ranges.values()))
    return path, shapes


@pytest.fixture(scope="module")
def seen(wan_14b):
    """Tokens of every layer that take no memory; q, k and v share theirs."""
    found, made = Calibration(calls=1), {}
    for name, shape in wan_14b[1].items():
        layer, _, end = name.rpartition(".")
        if end == "weight" and layer.startswith("blocks.") and len(shape) == 2:
            block, _, part = layer.rpartition(".")
            same = f"{block}.qkv" if "self_attn" in layer and part in "qkv" else layer
            found.maxima[layer] = torch.ones(shape[1])
            found.inputs[layer] = made.setdefault(same, torch.ones(1, shape[1]).expand(TOKENS, -1))
    return found


def said_before(path, target, **options):
    """The line, with which the conversion is stopped."""
    lines = []

    def say(line):
        lines.append(line)
        raise BegunError

    with pytest.raises(BegunError):
        convert(path, target, Options(dialect=X2V, **options), say=say)
    return lines[0]


@pytest.mark.skipif(os.name == "nt", reason="Windows writes the zeros of such a file")
@pytest.mark.parametrize(
    "options,begin",
    [
        ({"format": "w4a8"}, "Rounding takes about "),
        ({"format": "int8"}, "Measuring and rounding take about "),
        ({"target_size": 9_500_000_000}, "Measuring and rounding take about "),
    ],
    ids=["w4a8", "int8", "searched"],
)
def test_of_wan_14b_it_is_said_at_once(options, begin, wan_14b, seen, tmp_path, monkeypatch):
    """For a CPU and for a GPU; no large tensor was read."""
    read = []
    monkeypatch.setattr(Source, "_bytes", lambda self, info, start, count: read.append(count) or torch.zeros(count))
    line = said_before(wan_14b[0], tmp_path / "a.safetensors", calibration=seen, **options)
    print(line)
    assert line.startswith(begin) and "hours on this " in line
    assert "on an RTX 4090 (both estimated)." in line or line.endswith("on this GPU (estimated).")
    assert sum(read) < 1 << 20


def test_a_search_to_the_nearest_takes_time_too(wan_14b, tmp_path):
    line = said_before(wan_14b[0], tmp_path / "a.safetensors", target_snr=30.0, rounding="nearest")
    assert line.startswith("Measuring and rounding take about ")


def test_layers_that_keep_their_codes_take_none(source, tmp_path):
    """Only those that are rounded now."""
    seen = recorded(source, 300)
    first, lines = tmp_path / "a.safetensors", []
    convert(source, first, Options("int4-g128", X2V, rounding="nearest"))
    again = convert(first, tmp_path / "b.safetensors", Options("int4-g128", X2V, calibration=seen), say=lines.append)
    assert lines == [] and again["estimated_seconds"] == 0
