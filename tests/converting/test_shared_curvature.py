"""What GPTQ computes of an input, it computes once for all layers that get this input, in whatever order a file has
them."""

import re

import pytest
import torch
from family_files import tensors_of
from recorded_inputs import recorded
from safetensors.torch import save_file

from x2v_quant.calibration import Calibration
from x2v_quant.checkpoints.encodings import LIGHTX2V, X2V
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.layer_rules import parse_overrides
from x2v_quant.rounding import curvature as module

pytestmark = pytest.mark.usefixtures("inference")
# ends of names -> what stands for all layers with that input
SAME = ((r"attn\.to_[qkv]$", "image"), (r"attn\.add_[qkv]_proj$", "text"), (r"cross_attn\.[kv]$", "context"))
COUNT = 300


@pytest.fixture
def computed(monkeypatch):
    """The tokens, as bytes, of which a curvature was computed."""
    found, compute = [], module.curvature

    def noted(tokens):
        found.append(tokens.numpy().tobytes())
        return compute(tokens)

    monkeypatch.setattr(module, "curvature", noted)
    return found


def calibration_of(tensors):
    """Of every layer under ComfyUI's names; the inputs of SAME are one object each in a block."""
    generator, seen, made = torch.Generator().manual_seed(0), Calibration(calls=1), {}
    for name, tensor in tensors.items():
        if name.endswith(".weight") and tensor.ndim == 2:
            layer = name.removesuffix(".weight")
            same = layer
            for pattern, word in SAME:
                same = re.sub(pattern, word, same)
            if same not in made:
                made[same] = torch.randn((COUNT, tensor.shape[1]), generator=generator).to(torch.bfloat16)
            x = made[same].float()
            seen.add(layer, x.abs().amax(dim=0), x.square().sum(dim=0), COUNT)
            seen.inputs[layer] = made[same]
    return seen


def test_wan(source, tmp_path, computed):
    """Files have o between k and q; k and v of all blocks get the same text."""
    seen = recorded(source, COUNT)
    text = seen.inputs["blocks.0.cross_attn.k"]
    seen.inputs |= {f"blocks.{block}.cross_attn.{end}": text for block in range(2) for end in "kv"}
    report = convert(source, tmp_path / "a.safetensors", Options("int4-g128", X2V, calibration=seen))
    assert report["rounding"] == {"gptq": 20}
    # of a block: the input of q, k and v, the five others but for the text
    assert len(computed) == len(set(computed)) == 2 * 6 + 1


@pytest.mark.parametrize("package", ["file", "shards"])
def test_one_input_in_two_bases_is_computed_twice(package, source, tmp_path, computed):
    rules = tuple(parse_overrides("cross_attn.* = keep\nffn.* = keep\nself_attn.o = keep\nself_attn.k = w4a8"))
    asked = {"overrides": rules, "package": package, "shard_bytes": 400_000}
    name = "a.safetensors" if package == "file" else "a"
    convert(source, tmp_path / name, Options("int4-g128", X2V, calibration=recorded(source, COUNT), **asked))
    assert len(computed) == len(set(computed)) == 2 * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,dialect,layers,inputs",
    # Flux's q, k and v are one layer in ComfyUI's files, and three in LightX2V's
    [("qwen-image", X2V, 28, 20), ("flux", X2V, 29, 29), ("flux", LIGHTX2V, 46, 29)],
)
def test_other_families(name, dialect, layers, inputs, told, tmp_path, computed):
    told(name)
    tensors = {key: tensor.to(torch.bfloat16) for key, tensor in tensors_of(name).items()}
    path = tmp_path / "source.safetensors"
    save_file(tensors, path)
    report = convert(
        path, tmp_path / "a.safetensors", Options("int4-g128", dialect, calibration=calibration_of(tensors))
    )
    assert report["rounding"] == {"gptq": layers}
    assert len(computed) == len(set(computed)) == inputs
