"""The table of all keys of LightX2V's configurations and of what handles them here. A new key is a row."""

from dataclasses import dataclass

from . import sampling
from .diffusion import EXPERT_KEYS

OURS, CORE, NOT_NEEDED, NOT_HERE, DEAD = "ours", "core", "not needed", "not here", "dead"


@dataclass(frozen=True)
class Setting:
    """`who`: what handles the keys: OURS this pack, CORE a node in the graph, NOT_NEEDED nothing, NOT_HERE not
    supported, DEAD not read by LightX2V. `keys`: names; a name ending in * is a prefix. `says`: what to set in the
    graph (CORE), or why there is nothing to set. `nodes`: class ids of core's nodes in `says`."""

    who: str
    keys: tuple[str, ...]
    says: str = ""
    nodes: tuple[str, ...] = ()


SETTINGS = (
    # read here
    Setting(OURS, ("model_cls", "task", "model_path", "mm_config", "use_image_encoder", "t5_tokenizer_path")),
    Setting(OURS, tuple(f"{part}_{key}" for part in ("dit", "t5", "clip") for key in ("quantized", "quant_scheme"))),
    Setting(OURS, tuple(f"{part}_{kind}_ckpt" for part in ("dit", "t5", "clip") for kind in ("quantized", "original"))),
    Setting(OURS, EXPERT_KEYS),
    Setting(OURS, ("cpu_offload", "offload_granularity", "t5_cpu_offload", "clip_cpu_offload")),
    Setting(OURS, ("lazy_load", "t5_lazy_load", "unload_modules")),
    Setting(OURS, sampling.KEYS),
    # settings of core's nodes
    Setting(CORE, ("seed",), "seed of the sampler", ("KSampler", "KSamplerAdvanced")),
    Setting(
        CORE,
        ("target_width", "target_height", "target_video_length", "aspect_ratio", "resize_mode"),
        "size and length (EmptyHunyuanLatentVideo, WanImageToVideo, WanFirstLastFrameToVideo; "
        "Wan22ImageToVideoLatent for the 5B model)",
        ("EmptyHunyuanLatentVideo", "WanImageToVideo", "WanFirstLastFrameToVideo", "Wan22ImageToVideoLatent"),
    ),
    Setting(CORE, ("fps", "target_fps", "video_duration"), "fps of CreateVideo", ("CreateVideo",)),
    Setting(
        CORE,
        (
            "feature_caching",
            "teacache_thresh",
            "coefficients",
            "use_ret_steps",
            "magcache_*",
            "residual_diff_threshold",
        ),
        "EasyCache or LazyCache, whose reuse_threshold has a scale of its own: begin with 0.2",
        ("EasyCache", "LazyCache"),
    ),
    Setting(CORE, ("use_tiling_vae",), "VAEDecodeTiled in the place of VAEDecode", ("VAEDecodeTiled", "VAEDecode")),
    Setting(
        CORE,
        ("use_tae", "tae_path", "use_lightvae", "need_scaled"),
        "VAELoader with that file: tiny ones lie in models/vae_approx",
        ("VAELoader",),
    ),
    Setting(CORE, ("vae_path", "vae_dtype"), "VAELoader with the file of that name from models/vae", ("VAELoader",)),
    Setting(
        CORE,
        ("lora_configs", "lora_path", "lora_strength", "lora_dynamic_apply"),
        "a LoraLoaderBypassModelOnly for each, with the file from models/loras and its strength; several in a row",
        ("LoraLoaderBypassModelOnly",),
    ),
    Setting(
        CORE,
        (
            "self_attn_1_type",
            "cross_attn_1_type",
            "cross_attn_2_type",
            "attn_type",
            "adapter_attn_type",
            "clip_attn_type",
        ),
        "no node: ComfyUI picks the attention itself; start it with --use-sage-attention or --use-flash-attention "
        "for those",
    ),
    Setting(
        CORE,
        ("use_compile",),
        "TorchCompileModel",
        ("TorchCompileModel",),
    ),
    Setting(
        CORE,
        ("changing_resolution", "changing_resolution_steps", "resolution_rate"),
        "two KSamplerAdvanced with LatentUpscaleBy between them",
        ("KSamplerAdvanced", "LatentUpscaleBy"),
    ),
    Setting(
        CORE,
        ("video_frame_interpolation",),
        "FrameInterpolationModelLoader and FrameInterpolate after VAEDecode",
        ("FrameInterpolationModelLoader", "FrameInterpolate"),
    ),
    Setting(CORE, ("parallel",), "MultiGPU_WorkUnits, where there is more than one GPU", ("MultiGPU_WorkUnits",)),
    Setting(CORE, ("enable_dynamic_cfg",), "CFGOverride, for a part of the schedule", ("CFGOverride",)),
    Setting(
        CORE,
        ("replace_flag", "refert_num", "drop_first_motion", "refer_*"),
        "WanAnimateToVideo",
        ("WanAnimateToVideo",),
    ),
    Setting(
        CORE,
        ("audio_sr", "audio_mux_prefer_copy", "motion_frames", "infer_frames", "num_repeat"),
        "AudioEncoderEncode and WanSoundImageToVideo",
        ("AudioEncoderEncode", "WanSoundImageToVideo"),
    ),
    Setting(
        CORE,
        ("CONDITION_IMAGE_SIZE", "USE_IMAGE_ID_IN_PROMPT", "prompt_template_encode*"),
        "TextEncodeQwenImageEdit, which brings the template",
        ("TextEncodeQwenImageEdit",),
    ),
    # nothing to be done
    Setting(
        NOT_NEEDED,
        ("vae_cpu_offload", "vae_offload_cache", "clean_cuda_cache", "num_disk_workers", "warm_up_cpu_buffers"),
        "ComfyUI's memory management does it",
    ),
    Setting(
        NOT_NEEDED,
        ("rope_type", "causal_rope_type", "rms_norm_type", "layer_norm_type", "modulate_type", "tp_rms_norm_type"),
        "which library computes norms and rotations, not what they are",
    ),
    Setting(NOT_NEEDED, ("rope_chunk", "rope_chunk_size", "enable_reuse"), "LightX2V's own ways to run"),
    Setting(
        NOT_NEEDED,
        ("dim", "in_dim", "out_dim", "ffn_dim", "freq_dim", "text_dim", "num_heads", "num_layers", "patch_size"),
        "read off the weights",
    ),
    Setting(
        NOT_NEEDED,
        ("eps", "qk_norm", "cross_attn_norm", "window_size", "use_img_emb", "num_channels_latents", "vae_stride"),
        "part of the model",
    ),
    Setting(
        NOT_NEEDED,
        (
            "text_len",
            "num_train_timesteps",
            "use_31_block",
            "max_area",
            "log_scale",
            "convert_model_dtype",
            "use_bfloat16",
        ),
        "what ComfyUI does anyway, or precision while computing (compute_dtype) of Quantization Scheme",
    ),
    Setting(
        NOT_HERE,
        (
            "dynamic_sparse_attn_setting",
            "general_sparse_attn_setting",
            "nbhd_attn_setting",
            "rainfusion_attn_setting",
            "sol_attn_setting",
            "sparge*",
            "spas_*",
            "draft_attn_sparsity_ratio",
            "sparse_type",
            "downsample_factor",
        ),
        "sparse attention: full attention is computed, which is slower and no less exact",
    ),
    Setting(NOT_HERE, ("ar_config",), "autoregressive generation of chunks: the whole video is sampled at once"),
    Setting(NOT_HERE, ("sub_servers", "use_prompt_enhancer"), "a prompt enhancer is not part of ComfyUI or this pack"),
    Setting(
        NOT_HERE,
        ("adapter_quantized", "adapter_quant_scheme", "adapter_model_path", "audio_adapter*"),
        "audio adapters are not loaded",
    ),
    Setting(
        DEAD,
        (
            "offload_ratio",
            "max_memory",
            "offload_to_disk",
            "t5_offload_granularity",
            "rotary_chunk",
            "rotary_chunk_size",
            "weight_auto_quant",
        ),
        "LightX2V itself reads it nowhere",
    ),
)


def setting_of(key: str) -> Setting | None:
    """The row of a key, None for an unknown key."""
    return next((row for row in SETTINGS if any(_is(key, name) for name in row.keys)), None)


def known_keys() -> list[str]:
    return [name.rstrip("*_") for row in SETTINGS for name in row.keys]


def _is(key: str, name: str) -> bool:
    return key.startswith(name[:-1]) if name.endswith("*") else key == name
