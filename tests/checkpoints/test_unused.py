"""Tensors that no forward uses are left out with a note; what changes the result stays, for the loader to refuse."""

import pytest
import torch
from safetensors.torch import save_file

from x2v_quant.checkpoints import open_checkpoint, read_outline

COUNTERS = ("step", "global_step", "ema_decay", "num_updates", "epoch", "initted", "n_averaged", "cuda_rng_state")
NESTED = ("model_ema.decay", "model_ema.num_updates", "ema.num_updates", "train_state.step", "trainer.global_step")
SCHEDULES = ("betas", "alphas_cumprod", "sqrt_one_minus_alphas_cumprod", "posterior_variance", "scheduler.sigmas")
STATES = ("_extra_state", "blocks.0.self_attn._extra_state")
COMPUTED = ("freqs", "rope.freqs", "rotary_emb.inv_freq", "blocks.0.self_attn.rope.cos_cached", "text.position_ids")
Z_IMAGE = {
    "noise_refiner.0.attention.qkv.weight": torch.zeros(24, 8),
    "layers.0.adaLN_modulation.0.weight": torch.zeros(32, 8),
}


@pytest.mark.parametrize("prefix", ["", "net.", "model.diffusion_model."])
@pytest.mark.parametrize("name", [*COUNTERS, *COMPUTED, *NESTED, *SCHEDULES, *STATES])
def test_what_is_left_out_is_told(name, prefix, wan, opened):
    tensors = {prefix + key: tensor for key, tensor in wan().items()}
    wanted = opened(tensors).load().plain.keys()
    checkpoint = opened({**tensors, prefix + name: torch.ones(3)})
    checkpoint.require("dit")
    assert checkpoint.load().plain.keys() == wanted
    assert any(name in note and "left out" in note for note in checkpoint.notes)
    assert read_outline(checkpoint).problems == []


@pytest.mark.parametrize("name", ["cur_step", "lr", "samples_seen", "logit_scale", "version", "best_metric"])
def test_no_model_has_a_single_number_beside_its_layers(name, wan, opened):
    for value in (torch.tensor(3), torch.ones(1), torch.tensor(1.5)):
        checkpoint = opened({**wan(), name: value})
        checkpoint.require("dit")
        assert name not in checkpoint.kept
        assert f"{name} left out: ComfyUI's model does not use it" in checkpoint.notes
    assert name in opened({**wan(), name: torch.ones(2)}).kept


@pytest.mark.parametrize("name", ["step", "num_updates"])
def test_a_counter_beside_the_prefix_is_no_name_of_the_model(name, wan, opened):
    tensors = {f"net.{key}": tensor for key, tensor in wan().items()}
    checkpoint = opened({**tensors, name: torch.tensor(5)})
    checkpoint.require("dit")
    assert checkpoint.model == "Wan 2.1 t2v"


def test_angles_of_positions_may_be_complex(wan, opened):
    opened({**wan(), "freqs": torch.ones(8, dtype=torch.complex64)}).require("dit")


@pytest.mark.parametrize("name", ["norm_final.weight", "step", "freqs"])
def test_z_images_idle_norm(name, opened):
    checkpoint = opened({**Z_IMAGE, name: torch.ones(8)})
    assert name not in checkpoint.kept
    assert any(name in note for note in checkpoint.notes)


@pytest.mark.parametrize("name", ["norm_final.weight", "blocks.0.cross_attn.gate", "extra.weight", "blocks.0.step"])
def test_weights_and_what_is_not_known_stay(name, wan, opened):
    assert name in opened({**wan(), name: torch.ones(8)}).kept


def test_a_model_that_has_such_a_tensor_keeps_it(tmp_path):
    tensors = {"vid_in.proj.bias": torch.zeros(4), "blocks.0.attn.proj_qkv.vid.weight": torch.zeros(12, 4)}
    save_file({**tensors, "blocks.0.attn.rope.rope.freqs": torch.ones(2)}, tmp_path / "seedvr2.safetensors")
    checkpoint = open_checkpoint(tmp_path / "seedvr2.safetensors")
    assert checkpoint.model == "SeedVR2"
    assert "blocks.0.attn.rope.rope.freqs" in checkpoint.kept
