"""Modules that are added to a model: named, with what they need, and never loaded alone."""

import pytest
import torch

from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.checkpoints import CheckpointError

# a name of a module -> words of what it is, and of what it needs
ADD_ONS = {
    "vace_blocks.0.self_attn.q": ("VACE's modules", "Wan VACE as one file"),
    "vace_patch_embedding": ("VACE's modules", "Wan VACE as one file"),
    "face_adapter.fuser_blocks.0.linear1_kv": ("Animate's modules", "Wan 2.2 Animate as one file"),
    "motion_encoder.enc.fc.0": ("Animate's modules", "Wan 2.2 Animate as one file"),
    "casual_audio_encoder.encoder.final_linear": ("audio modules of Wan (s2v)", "Wan 2.2 s2v as one file"),
    "audio_injector.injector.0.q": ("audio modules of Wan (s2v)", "Wan 2.2 s2v as one file"),
    "audio_proj.audio_proj_glob_1.layer": ("HuMo's audio modules", "Wan HuMo as one file"),
    "audio_proj.proj1": ("MultiTalk's audio modules", "Load Model Patch"),
    "control_adapter.conv": ("a camera adapter", "Wan camera control as one file"),
    "img_emb.proj.1": ("image modules", "Wan i2v as one file"),
    "ca.0.to_q": ("LightX2V's audio adapter", "LightX2V's own engine"),
    "controlnet_blocks.0": ("a ControlNet", "Load ControlNet Model"),
    "control_layers.0.attention.qkv": ("a control model for Z-Image", "Load Model Patch"),
    "ip_adapter.0.to_k_ip": ("an IP-Adapter", "IP-Adapters"),
    "double_blocks.0.processor.ip_adapter_double_stream_k_proj": ("an IP-Adapter", "IP-Adapters"),
    "vace_blocks.0.attn1.to_q": ("VACE's modules", "Wan VACE as one file"),
    "ref_conv": ("the reference module of Wan Fun Control", "Wan Fun Control as one file"),
    "patch_embedding_pose": ("SCAIL's modules", "Wan SCAIL as one file"),
    "music_projection": ("WanDancer's modules", "WanDancer as one file"),
    "enc.net_app.convs.0": ("Animate's modules", "Wan 2.2 Animate as one file"),
    "motioner.blocks.0": ("audio modules of Wan (s2v)", "Wan 2.2 s2v as one file"),
    "blocks.0.audio_cross_attn.q_linear": ("MultiTalk's audio modules", "Load Model Patch"),
    "blocks.0.audio_cross_attn_wrapper.audio_cross_attn.k": ("HuMo's audio modules", "Wan HuMo as one file"),
    "proj_model.proj": ("FantasyTalking's", "WanVideoWrapper"),
    "blocks.0.self_attn.ref_adapter.to_k_ref": ("Lynx's modules", "WanVideoWrapper"),
    "blocks.0.cross_attn.ip_adapter.to_k_ip": ("Lynx's modules", "WanVideoWrapper"),
    "blocks.0.cam_encoder": ("ReCamMaster's", "WanVideoWrapper"),
    "controlnet_patch_embedding": ("a Uni3C control model", "Load Model Patch"),
    "control_img_in": ("a ControlNet", "Load ControlNet Model"),
    "control_model.input_blocks.0.0": ("a ControlNet", "Load ControlNet Model"),
    "adapter.body.0.resnets.0.block1": ("a T2I adapter", "Load ControlNet Model"),
    "down_blocks.0.motion_modules.0.proj_in": ("AnimateDiff's", "AnimateDiff"),
    "redux_up": ("Flux Redux", "Load Style Model"),
    "pulid_ca.0.to_q": ("PuLID's", "PuLID"),
}
# models with a copy of another one's blocks: what they have beside those
COPIES = {
    "flux": ("controlnet_blocks.0", "controlnet_x_embedder"),
    "flux in ComfyUI's names": ("controlnet_blocks.0", "pos_embed_input.proj"),
    "qwen-image": ("controlnet_blocks.0", "controlnet_x_embedder"),
    "wan": ("controlnet_blocks.0",),
}
BLOCKS = {
    "flux": ("single_transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.add_q_proj", "x_embedder"),
    "flux in ComfyUI's names": ("double_blocks.0.img_attn.qkv", "single_blocks.0.linear1"),
    "qwen-image": ("transformer_blocks.0.img_mod.1", "transformer_blocks.0.attn.add_q_proj"),
    "wan": ("head.modulation", "blocks.0.self_attn.q"),
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


@pytest.mark.parametrize("kind", [None, "int8"])
@pytest.mark.parametrize("name", COPIES)
def test_a_controlnet_with_a_copy_of_a_models_blocks_is_none_of_those(name, kind, opened):
    tensors = {}
    for layer in (*BLOCKS[name], *COPIES[name]):
        parts = {"weight": torch.zeros(8, 8)} if kind is None else KINDS[kind](torch.ones(8, 8))
        tensors |= {f"{layer}.{end}": tensor for end, tensor in parts.items()}
    checkpoint = opened(tensors)
    assert checkpoint.model == "a ControlNet, an add-on"
    assert "Load ControlNet Model" in checkpoint.problems[0].remedy


OTHERS = {
    "blocks.0.self_attn.q.lokr_w1": ("a LoRA", "Load LoRA (any format)"),
    "blocks.0.self_attn.q.hada_w1_a": ("a LoRA", "Load LoRA (any format)"),
    "diffusion_model.blocks.0.self_attn.q.diff": ("a LoRA", "Load LoRA (any format)"),
    "blocks.0.self_attn.q_loras.down.weight": ("a LoRA", "Load LoRA (any format)"),
    "unet.mid_block.attn1.processor.to_q_lora.up.weight": ("a LoRA", "Load LoRA (any format)"),
    "visual.transformer.resblocks.0.attn.in_proj_weight": ("a CLIP vision encoder under open_clip", "Load CLIP Vision"),
    "transformer.resblocks.0.attn.in_proj_weight": ("a CLIP text encoder", "Load CLIP"),
    "vision_model.encoder.layers.0.self_attn.q_proj.weight": ("a vision encoder other", "Load CLIP Vision"),
    "encoder.layer.0.attention.attention.query.weight": ("a vision encoder other", "Load CLIP Vision"),
    "wav2vec2.feature_extractor.conv_layers.0.conv.weight": ("an audio encoder", "Load Audio Encoder"),
    "model.encoder.embed_positions.weight": ("an audio encoder", "Load Audio Encoder"),
    "decoder.1.weight": ("a VAE", "Load VAE"),
    "blocks.0.self_attn.q.maxima": ("a calibration", "Load Calibration"),
    "decoder.up_blocks.0.resnets.0.norm1.weight": ("a VAE", "Load VAE"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_models_of_others_are_named_with_their_loader(name, opened):
    checkpoint = opened({name: torch.ones(8, 8), "other.bias": torch.ones(8)})
    what, loader = OTHERS[name]
    assert checkpoint.model.startswith(what)
    assert checkpoint.problems[0].remedy.endswith(f" and use {loader}.")


@pytest.mark.parametrize("name", [name for name in OTHERS if name.endswith(".weight") and "lora" not in name])
def test_a_quantized_one_is_not_sent_to_a_loader_that_cannot_read_it(name, opened):
    codes, scale = torch.ones(8, 8, dtype=torch.int8), torch.ones(8, 1)
    layer = name.removesuffix(".weight")
    foreign = opened({name: codes, f"{layer}.weight_scale": scale, "other.bias": torch.ones(8)})
    assert f"That reads no quantized layers like {name}: get it in 16 bits." in foreign.problems[0].remedy
    marker = torch.tensor(list(b'{"format": "int8_tensorwise"}'), dtype=torch.uint8)
    cores = opened({name: codes, f"{layer}.weight_scale": scale[0, 0], f"{layer}.comfy_quant": marker})
    assert cores.problems[0].remedy.endswith(f" and use {OTHERS[name][1]}.")


def test_a_whole_model_with_them_is_that_model(wan, opened):
    assert opened({**wan(), "vace_patch_embedding.weight": torch.zeros(8, 96, 1, 2, 2)}).model == "Wan 2.1 VACE"
