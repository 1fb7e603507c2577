"""The blocks of core's own models."""

import pytest
from core_models import MODELS, built
from older_comfyui import in_core

from x2v_quant.runtime.offload.blocks import Block, blocks_of, phases_of

# of diffusion models -> lists of blocks in the order they run in, and the phases of a block of each
WAN = ("self_attn", "cross_attn", "ffn")
EXPECTED = {
    "wan t2v": {"blocks": WAN},
    "wan i2v": {"blocks": WAN},
    "qwen-image": {"transformer_blocks": ("attn", "img_mlp", "txt_mlp")},
    "z-image": {"layers": ("attention", "feed_forward")},
    # whose blocks call the layers of their attention one by one
    "flux": {"double_blocks": (), "single_blocks": ()},
    "flux 2": {"double_blocks": (), "single_blocks": ()},
    "hunyuan 1.5": {"double_blocks": ()},
    "ltxv": {"transformer_blocks": ("attn1", "attn2", "ff")},
    "minimax-h3": {"blocks": ("adaln_proj", "attn", "mlp"), "token_refiner.blocks": ()},
}


@pytest.mark.parametrize("name", in_core(EXPECTED))
def test_blocks_and_phases(name):
    model = built(name)
    found = blocks_of(model)
    names = [block.name for block in found]
    for where, phases in EXPECTED[name].items():
        count = len(model.get_submodule(where))
        assert [block for block in names if block.startswith(f"{where}.")] == [f"{where}.{i}" for i in range(count)]
        first = next(block for block in found if block.name == f"{where}.0")
        wanted = [f"{where}.0.{phase}" for phase in phases] or [first.name]
        assert [part.name for part in phases_of(first)] == wanted


@pytest.mark.parametrize(
    "name", in_core(name for name in MODELS if not name.startswith(("clip", "t5", "umt5", "qwen2.5")))
)
def test_blocks_and_phases_never_overlap(name):
    found = blocks_of(built(name))
    assert len(found) >= 2
    # no block is in another
    names = [f"{block.name}." for block in found]
    assert not any(a != b and a.startswith(b) for a in names for b in names)
    # phases part a block, they never overlap
    for block in found:
        seen = [id(p) for part in phases_of(block) for p in part.module.parameters()]
        assert len(seen) == len(set(seen))


def test_a_block_of_no_known_kind_is_one_phase():
    block = blocks_of(built("flux"))[-1]
    assert phases_of(block) == [Block(block.name, block.module)]
