"""Core takes every tensor of the random and of the trained Wan, and the random one is worth comparing: its output comes
from the quantized blocks and listens to the prompt."""

import json

import comfy.sd
import pytest
import torch
from distance import distance

from x2v_quant.benchmarks import wan
from x2v_quant.demo import trained, widen

SEED = 20
SIZE = wan.WanSize()
TOKENS = 9  # of a prompt; the rest of the 512 is padding
DITS = {
    "random t2v": lambda: wan.dit(SEED, SIZE, image_to_video=False),
    "random i2v": lambda: wan.dit(SEED, SIZE, image_to_video=True),
    "trained t2v": trained.dit,
    "trained i2v": lambda: widen.image_to_video(trained.dit(), trained.image_to_video()),
}
VAES = {"random": lambda: wan.vae(SEED), "trained": trained.vae}
COMPLAINTS = ("missing", "left over", "unexpected")


def patcher_of(state_dict):
    """state_dict is emptied of what the model took."""
    text = state_dict["text_embedding.0.weight"].shape[1]
    metadata = {"config": json.dumps({"transformer": {"text_dim": text}})}
    return comfy.sd.load_diffusion_model_state_dict(state_dict, {"dtype": torch.float32}, metadata=metadata)


def output(tensors, context):
    noise = torch.randn(1, 16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return patcher_of(dict(tensors)).model.diffusion_model(noise, torch.tensor([700.0]), context)


def prompt(seed):
    context = torch.randn(1, 512, SIZE.text, generator=torch.Generator().manual_seed(seed))
    context[:, TOKENS:] = 0
    return context


@pytest.fixture(scope="module")
def tensors():
    return DITS["random t2v"]()


@pytest.mark.parametrize(("change", "least"), [("blocks", 0.25), ("prompt", 0.1)])
def test_output_depends_on_blocks_and_prompt(inference, tensors, change, least):
    reference = output(tensors, prompt(1))
    assert 0.3 < reference.std() < 3
    if change == "prompt":
        other = output(tensors, prompt(2))
    else:
        silent = {name: value * (not name.startswith("blocks.")) for name, value in tensors.items()}
        other = output(silent, prompt(1))
    difference = distance(other, reference)
    assert difference > least


def complaints(caplog):
    return [line for line in caplog.messages if any(word in line.lower() for word in COMPLAINTS)]


@pytest.mark.parametrize("model", DITS)
def test_every_tensor_is_used_and_none_is_missing(caplog, model):
    state_dict = DITS[model]()
    patcher_of(state_dict)
    assert state_dict == {}
    assert complaints(caplog) == []


@pytest.mark.parametrize("model", VAES)
def test_the_vae_is_whole(caplog, model):
    comfy.sd.VAE(sd=VAES[model]())
    assert complaints(caplog) == []
