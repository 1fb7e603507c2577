"""Core's own models, small and without weights: what rules about their layers and blocks are held against."""

import importlib

import torch

FLUX = {
    "in_channels": 16,
    "out_channels": 16,
    "context_in_dim": 256,
    "hidden_size": 256,
    "num_heads": 2,
    "depth": 2,
    "depth_single_blocks": 3,
    "axes_dim": [16, 56, 56],
    "theta": 256,
    "qkv_bias": True,
    "mlp_ratio": 4.0,
}
FLUX_1 = {**FLUX, "patch_size": 2, "vec_in_dim": 768, "guidance_embed": True, "txt_ids_dims": []}
FLUX_2 = {
    **FLUX_1,
    "vec_in_dim": None,
    "axes_dim": [32] * 4,
    "mlp_ratio": 3.0,
    "global_modulation": True,
    "mlp_silu_act": True,
    "ops_bias": False,
}
CHROMA = {**FLUX_1, "in_dim": 64, "out_dim": 256, "hidden_dim": 256, "n_layers": 2}
CHROMA.pop("guidance_embed")
HUNYUAN = {
    **FLUX,
    "patch_size": [1, 2, 2],
    "vec_in_dim": 768,
    "guidance_embed": True,
    "byt5": False,
    "meanflow": False,
    "meanflow_sum": False,
    "use_cond_type_embedding": False,
    "vision_in_dim": None,
}
HUNYUAN_15 = {
    **HUNYUAN,
    "depth_single_blocks": 0,
    "vec_in_dim": None,
    "guidance_embed": False,
    "byt5": True,
    "meanflow_sum": True,
    "use_cond_type_embedding": True,
    "vision_in_dim": 1152,
}
WAN = {"dim": 256, "ffn_dim": 512, "num_heads": 4, "num_layers": 5, "text_dim": 256}
Z_IMAGE = {
    "dim": 256,
    "n_layers": 3,
    "n_refiner_layers": 2,
    "n_heads": 2,
    "axes_dims": (32, 48, 48),
    "cap_feat_dim": 256,
    "in_channels": 16,
    "qk_norm": True,
}
LTX = {"num_attention_heads": 4, "attention_head_dim": 64, "cross_attention_dim": 256, "caption_channels": 256}
LTX_2 = {
    **LTX,
    "audio_num_attention_heads": 4,
    "audio_attention_head_dim": 32,
    "audio_cross_attention_dim": 128,
    "connector_num_attention_heads": 2,
    "connector_attention_head_dim": 64,
}
# with heads that together are wider than the model, as the real one's are
MINIMAX_H3 = {
    "hidden_size": 256,
    "num_layers": 2,
    "token_refiner_num_layers": 2,
    "num_attention_heads": 3,
    "attention_head_dim": 128,
    "ffn_hidden_size": 512,
    "text_dim": 320,
    "time_embed_hidden_size": 256,
    "time_embed_dim": 128,
}
SEEDVR2 = {
    "norm_eps": 1e-5,
    "num_layers": 4,
    "mm_layers": 2,
    "vid_dim": 256,
    "heads": 2,
    "mlp_type": "swiglu",
    "vid_out_norm": True,
}
T5 = {"num_layers": 2, "d_model": 256, "d_kv": 64, "num_heads": 4, "d_ff": 512, "vocab_size": 64}
UMT5 = {**T5, "model_type": "umt5", "is_gated_act": True, "dense_act_fn": "gelu_pytorch_tanh"}
CLIP = {
    "num_hidden_layers": 2,
    "hidden_size": 256,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "hidden_act": "gelu",
    "image_size": 224,
    "patch_size": 14,
    "num_channels": 3,
    "projection_dim": 128,
    "max_position_embeddings": 77,
    "eos_token_id": 1,
    "vocab_size": 64,
}
QWEN_VL = {
    "num_hidden_layers": 2,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 64,
}
COSMOS = {
    "max_img_h": 64,
    "max_img_w": 64,
    "max_frames": 8,
    "in_channels": 16,
    "out_channels": 16,
    "patch_spatial": 2,
    "patch_temporal": 1,
    "model_channels": 256,
    "num_blocks": 2,
    "num_heads": 4,
    "crossattn_emb_channels": 256,
    "pos_emb_cls": "rope3d",
}
SD3 = {
    "depth": 4,
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 256, "out_features": 256}},
    "adm_in_channels": 256,
    "pos_embed_max_size": 8,
    "num_patches": 64,
}

# name -> (module of core, class, arguments)
MODELS = {
    "wan t2v": ("comfy.ldm.wan.model", "WanModel", {**WAN, "model_type": "t2v"}),
    "wan i2v": ("comfy.ldm.wan.model", "WanModel", {**WAN, "model_type": "i2v"}),
    "wan causal": ("comfy.ldm.wan.ar_model", "CausalWanModel", WAN),
    "wan vace": ("comfy.ldm.wan.model", "VaceWanModel", {**WAN, "vace_layers": 2, "vace_in_dim": 96}),
    "wan camera": ("comfy.ldm.wan.model", "CameraWanModel", WAN),
    "wan s2v": ("comfy.ldm.wan.model", "WanModel_S2V", {**WAN, "audio_inject_layers": [0, 2]}),
    "wan humo": ("comfy.ldm.wan.model", "HumoWanModel", WAN),
    "wan animate": ("comfy.ldm.wan.model_animate", "AnimateWanModel", WAN),
    "wan dancer": ("comfy.ldm.wan.model_wandancer", "WanDancerModel", {**WAN, "audio_inject_layers": [0, 2]}),
    "wan scail": ("comfy.ldm.wan.model", "SCAILWanModel", WAN),
    "qwen-image": (
        "comfy.ldm.qwen_image.model",
        "QwenImageTransformer2DModel",
        {"num_layers": 2, "num_attention_heads": 2, "joint_attention_dim": 256, "use_additional_t_cond": True},
    ),
    "z-image": (
        "comfy.ldm.lumina.model",
        "NextDiT",
        {**Z_IMAGE, "z_image_modulation": True, "pad_tokens_multiple": 32},
    ),
    "z-image omni": (
        "comfy.ldm.lumina.model",
        "NextDiT",
        {**Z_IMAGE, "z_image_modulation": True, "siglip_feat_dim": 128},
    ),
    "z-image pixel": (
        "comfy.ldm.lumina.model",
        "NextDiTPixelSpace",
        {**Z_IMAGE, "z_image_modulation": True, "decoder_hidden_size": 256},
    ),
    "lumina 2": ("comfy.ldm.lumina.model", "NextDiT", Z_IMAGE),
    "hunyuan": ("comfy.ldm.hunyuan_video.model", "HunyuanVideo", HUNYUAN),
    "hunyuan 1.5": ("comfy.ldm.hunyuan_video.model", "HunyuanVideo", HUNYUAN_15),
    "flux": ("comfy.ldm.flux.model", "Flux", FLUX_1),
    "flux 2": ("comfy.ldm.flux.model", "Flux", FLUX_2),
    "flux gated": ("comfy.ldm.flux.model", "Flux", {**FLUX_1, "yak_mlp": True}),
    "chroma": ("comfy.ldm.chroma.model", "Chroma", CHROMA),
    "ltx-2": ("comfy.ldm.lightricks.av_model", "LTXAVModel", {**LTX_2, "apply_gated_attention": True}),
    "ltxv": ("comfy.ldm.lightricks.model", "LTXVModel", {**LTX, "num_layers": 2}),
    "umt5": ("comfy.text_encoders.t5", "T5", UMT5),
    "t5": ("comfy.text_encoders.t5", "T5", {**T5, "model_type": "t5", "is_gated_act": False, "dense_act_fn": "relu"}),
    "clip vision": ("comfy.clip_model", "CLIPVisionModelProjection", {**CLIP, "model_type": "clip_vision_model"}),
    "clip text": ("comfy.clip_model", "CLIPTextModel", CLIP),
    "qwen2.5-vl": ("comfy.text_encoders.llama", "Qwen25_7BVLI", QWEN_VL),
    "ernie": (
        "comfy.ldm.ernie.model",
        "ErnieImageModel",
        {"hidden_size": 256, "num_attention_heads": 2, "num_layers": 2, "ffn_hidden_size": 512, "text_in_dim": 512},
    ),
    "minimax-h3": ("comfy.ldm.minimax.model", "MiniMaxH3Model", MINIMAX_H3),
    "minimax-h3 pruned": (
        "comfy.ldm.minimax.model",
        "MiniMaxH3Model",
        {**MINIMAX_H3, "adaln_curve_grid": 64, "time_embed_dim": 16},
    ),
    "seedvr2": ("comfy.ldm.seedvr.model", "NaDiT", SEEDVR2),
    "seedvr2 7b": (
        "comfy.ldm.seedvr.model",
        "NaDiT",
        {"norm_eps": 1e-5, "num_layers": 2, "mm_layers": 2, "vid_dim": 3072, "heads": 24, "mlp_type": "normal"},
    ),
    # families without a row
    "cosmos": ("comfy.ldm.cosmos.predict2", "MiniTrainDIT", COSMOS),
    "sd3": ("comfy.ldm.modules.diffusionmodules.mmdit", "MMDiT", SD3),
}
# take their sizes as one dictionary
ENCODER_MODULES = ("comfy.text_encoders.", "comfy.clip_model")


def built(name: str) -> torch.nn.Module:
    """The model of that name in MODELS, on the meta device."""
    import comfy.ops

    module, class_name, arguments = MODELS[name]
    made = {"dtype": torch.bfloat16, "device": "meta", "operations": comfy.ops.disable_weight_init}
    build = getattr(importlib.import_module(module), class_name)
    with torch.device("meta"):
        return build(arguments, **made) if module.startswith(ENCODER_MODULES) else build(**arguments, **made)
