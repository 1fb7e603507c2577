"""The small Wan is worth comparing: its output comes from the quantized blocks and listens to the prompt."""

import comfy.sd
import pytest
import torch

from x2v_quant.demo import assets, wan

SIZE = wan.WanSize()
TOKENS = 9  # of a prompt; the rest of the 512 is padding


def output(tensors, context):
    config = {"config": f'{{"transformer": {{"text_dim": {SIZE.text}}}}}'}
    patcher = comfy.sd.load_diffusion_model_state_dict(dict(tensors), {"dtype": torch.float32}, metadata=config)
    noise = torch.randn(1, 16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return patcher.model.diffusion_model(noise, torch.tensor([700.0]), context)


def prompt(seed):
    context = torch.randn(1, 512, SIZE.text, generator=torch.Generator().manual_seed(seed))
    context[:, TOKENS:] = 0
    return context


@pytest.fixture(scope="module")
def tensors():
    return wan.dit(assets.SEED, SIZE, image_to_video=False)


@pytest.mark.parametrize(("change", "least"), [("blocks", 0.25), ("prompt", 0.1)])
def test_output_depends_on_blocks_and_prompt(inference, tensors, change, least):
    reference = output(tensors, prompt(1))
    assert 0.3 < reference.std() < 3
    if change == "prompt":
        other = output(tensors, prompt(2))
    else:
        silent = {name: value * (not name.startswith("blocks.")) for name, value in tensors.items()}
        other = output(silent, prompt(1))
    difference = ((other - reference).norm() / reference.norm()).item()
    assert difference > least


@pytest.mark.parametrize("task", ["t2v", "i2v", "vae"])
def test_every_tensor_is_used_and_none_is_missing(caplog, task, tensors):
    if task == "vae":
        comfy.sd.VAE(sd=dict(wan.vae(assets.SEED)))
    else:
        state_dict = wan.dit(assets.SEED, SIZE, image_to_video=task == "i2v")
        config = {"config": f'{{"transformer": {{"text_dim": {SIZE.text}}}}}'}
        comfy.sd.load_diffusion_model_state_dict(state_dict, {"dtype": torch.float32}, metadata=config)
        assert state_dict == {}
    complaints = ("missing", "left over", "unexpected")
    assert not [line for line in caplog.messages if any(word in line.lower() for word in complaints)]
