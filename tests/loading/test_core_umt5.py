"""ComfyUI's own umt5 file in Load Quantized T5: what most people have already, and what the templates name."""

import comfy.sd
import core_umt5
import pytest
import torch
from distance import distance
from safetensors.torch import save_file

from x2v_quant.benchmarks import encoders
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.loading.sizes import t5_sizes
from x2v_quant.loading.t5 import load_t5
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
# by these core knows a T5 XXL
BLOCKS, FFN = 24, 10240
WIDTH = 32
PROMPT = "a large red fox runs over the sea"
TOKENS = 48  # of the 512 that core pads a prompt to
# core multiplies text encoders in full precision
AS_CORE = SchemeChoice(t5="dequant", compute_dtype="fp32")


@pytest.fixture(scope="module")
def dense():
    """(a umt5 as deep and wide inside as the real one, under Wan's own names; its tokenizer)."""
    spiece = encoders.spiece_model(1)
    return encoders.umt5(1, encoders.pieces(spiece), WIDTH, FFN, BLOCKS), spiece


@pytest.fixture
def published(dense, tmp_path):
    """published(**of scaled_fp8) -> (the file, what Load CLIP gives of it with the type wan)."""

    def write(**more):
        tensors, path = core_umt5.scaled_fp8(*dense, **more), tmp_path / core_umt5.NAME
        save_file(tensors, path)
        options = {"umt5xxl_model_config": t5_sizes(tensors, "")}
        return path, comfy.sd.load_clip([str(path)], clip_type=comfy.sd.CLIPType.WAN, model_options=options)

    return write


def encode(clip):
    tokens = clip.tokenize(PROMPT)
    return clip.encode_from_tokens({name: [row[:TOKENS] for row in rows] for name, rows in tokens.items()})


@pytest.mark.parametrize("shape", [(), (1,)], ids=["number", "row"])
@pytest.mark.parametrize("marked", [0, 2])
def test_it_gives_what_comfyuis_own_loader_gives(marked, shape, published):
    path, core = published(marked=marked, shape=shape)
    assert dict(open_checkpoint(path).formats) == {"fp8-channel": BLOCKS * 7}  # one scale for all channels
    ours = load_t5(str(path), AS_CORE)
    assert ours.tokenize(PROMPT) == core.tokenize(PROMPT)
    got, wanted = encode(ours), encode(core)
    assert got.shape == wanted.shape
    assert distance(got, wanted) < 1e-5


def test_what_auto_takes_is_near_it(published):
    path, core = published()
    got, wanted = encode(load_t5(str(path))), encode(core)
    assert got.dtype == torch.float32
    assert 0 < distance(got, wanted) < 0.1
