"""Modules that are added to a model: named, with what they need, and never loaded alone."""

import pytest
import torch

from x2v_quant.checkpoints import CheckpointError
from x2v_quant.demo.quantize import KINDS

# a name of a module -> words of what it is, and of what it needs
ADD_ONS = {
    "vace_blocks.0.self_attn.q": ("VACE's modules", "Wan VACE as one file"),
    "vace_patch_embedding": ("VACE's modules", "Wan VACE as one file"),
    "face_adapter.fuser_blocks.0.linear1_kv": ("Animate's modules", "Wan 2.2 Animate as one file"),
    "motion_encoder.enc.fc.0": ("Animate's modules", "Wan 2.2 Animate as one file"),
    "casual_audio_encoder.encoder.final_linear": ("audio modules of Wan (s2v)", "Wan 2.2 s2v as one file"),
    "audio_injector.injector.0.q": ("audio modules of Wan (s2v)", "Wan 2.2 s2v as one file"),
    "audio_proj.audio_proj_glob_1.layer": ("HuMo's audio modules", "Wan HuMo as one file"),
    "audio_proj.proj1": ("MultiTalk's audio modules", "ModelPatchLoader"),
    "control_adapter.conv": ("a camera adapter", "Wan camera control as one file"),
    "img_emb.proj.1": ("image modules", "Wan i2v as one file"),
    "ca.0.to_q": ("LightX2V's audio adapter", "LightX2V's own engine"),
    "controlnet_blocks.0": ("a ControlNet", "Load ControlNet Model"),
    "control_layers.0.attention.qkv": ("a control model for Z-Image", "ModelPatchLoader"),
    "ip_adapter.0.to_k_ip": ("an IP-Adapter", "IP-Adapters"),
}


@pytest.mark.parametrize("prefix", ["", "net.", "model.diffusion_model."])
@pytest.mark.parametrize("kind", [None, "int8", "fp8"])
@pytest.mark.parametrize("name", ADD_ONS)
def test_what_it_is_and_what_it_needs(name, kind, prefix, opened):
    weight = torch.randn(128, 128, generator=torch.Generator().manual_seed(0))
    parts = {"weight": weight} if kind is None else KINDS[kind](weight)
    checkpoint = opened({f"{prefix}{name}.{end}": tensor.contiguous() for end, tensor in parts.items()})
    what, needs = ADD_ONS[name]
    assert what in checkpoint.model
    assert checkpoint.model.endswith(", an add-on")
    assert needs in checkpoint.problems[0].remedy
    assert checkpoint.problems[0].remedy.startswith("It does not load alone: ")
    with pytest.raises(CheckpointError, match="an add-on"):
        checkpoint.require("dit")


def test_a_whole_model_with_them_is_that_model(wan, opened):
    assert opened({**wan(), "vace_patch_embedding.weight": torch.zeros(8, 96, 1, 2, 2)}).model == "Wan 2.1 VACE"
