"""The wide vision encoder and the wide embedding compute what the narrow ones do, through the real loaders and core."""

import pytest
import torch
from comfy.ldm.wan.model import MLPProj
from comfy.ops import disable_weight_init
from distance import distance

from x2v_quant.benchmarks import wan
from x2v_quant.benchmarks.quantize import quantized
from x2v_quant.demo import trained, widen
from x2v_quant.loading.clip_vision import load_clip_vision
from x2v_quant.schemes import SchemeChoice

NARROW = 80
COPIES = wan.IMAGE_FEATURES // NARROW


def float32(tensors):
    return {name: tensor.float() for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def narrow():
    """Float32: what is compared is the arithmetic, not the rounding of a file."""
    return float32(trained.clip_vision())


@pytest.fixture(scope="module")
def added():
    return float32(trained.image_to_video())


@pytest.fixture(scope="module")
def encode(tmp_path_factory):
    def run(tensors, kind):
        path = tmp_path_factory.mktemp("clip") / "clip.pth"
        torch.save(quantized(tensors, kind, "clip"), path)
        choice = SchemeChoice(clip=f"{kind}-dequant", compute_dtype="fp32")
        encoder = load_clip_vision(str(path), choice)
        return encoder, encoder.encode_image(torch.rand((2, 64, 64, 3), generator=torch.Generator().manual_seed(4)))

    return run


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_hidden_states_are_the_narrow_ones_repeated(inference, narrow, encode, kind):
    small, expected = encode(narrow, kind)
    large, found = encode(widen.clip_vision(narrow), kind)
    assert (small.config["hidden_size"], small.config["num_attention_heads"]) == (NARROW, 1)
    assert (large.config["hidden_size"], large.config["num_attention_heads"]) == (NARROW * COPIES, COPIES)
    for name in ("penultimate_hidden_states", "last_hidden_state"):
        assert distance(found[name], expected[name].repeat(1, 1, COPIES)) < 1e-4
    assert distance(found["image_embeds"], expected["image_embeds"]) < 1e-4


def test_quantizing_and_widening_commute(narrow):
    """A row repeated has the same codes: int8 and fp8 cost the wide encoder what they cost the narrow one."""
    name = "visual.transformer.0.attn.to_qkv.weight"
    wide = quantized(widen.clip_vision(narrow), "int8", "clip")
    small = quantized(narrow, "int8", "clip")
    codes = wide[name].view(3, COPIES, NARROW, COPIES, NARROW)
    assert torch.equal(codes, small[name].view(3, 1, NARROW, 1, NARROW).expand_as(codes))


def embedded(tensors, width, features):
    """Core's image embedding of Wan."""
    module = MLPProj(
        width, tensors["img_emb.proj.3.weight"].shape[0], operation_settings={"operations": disable_weight_init}
    )
    own = {name.removeprefix("img_emb."): tensor for name, tensor in tensors.items() if name.startswith("img_emb.")}
    module.load_state_dict(own, strict=True)
    return module(features)


def test_the_image_embedding_is_the_narrow_ones(inference, added):
    features = torch.randn((2, 257, NARROW), generator=torch.Generator().manual_seed(5))
    wide = widen.image_to_video(float32(trained.dit()), added)
    expected = embedded(added, NARROW, features)
    assert distance(embedded(wide, wan.IMAGE_FEATURES, features.repeat(1, 1, COPIES)), expected) < 1e-5


def test_the_model_is_a_whole_wan_image_to_video_model(added):
    tensors = widen.image_to_video(float32(trained.dit()), added)
    like = wan.dit(0, wan.WanSize(dim=128, ffn=512, blocks=4, text=128), image_to_video=True)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {name: t.shape for name, t in like.items()}


def test_it_is_the_text_to_video_model_with_the_picture_behind_the_noise(added):
    dit = float32(trained.dit())
    tensors = widen.image_to_video(dit, added)
    patch = "patch_embedding.weight"
    noise, picture = tensors[patch].split([wan.LATENT_CHANNELS, wan.MASK_AND_IMAGE_CHANNELS], dim=1)
    assert torch.equal(noise, dit[patch])
    assert torch.equal(picture, added[patch])
    assert all(torch.equal(tensors[name], tensor) for name, tensor in dit.items() if name != patch)
