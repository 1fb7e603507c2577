"""Models that no loader here takes: what they are told by, and what takes them."""

from .family import UNKNOWN, plain

LORA = (
    r".*(\.lora_(A|B|up|down|mid)\b|_lora\.(up|down)\.|_loras\.(up|down)\.|\.lora_linear_layer\.(up|down)\."
    r"|\.lokr_w[12](_[ab])?$|\.hada_w[12]_[ab]$|\.diff(_b)?$|\.dora_scale$|\.oft_(blocks|diag)$)"
)

# node -> the folder of models that it lists
FOLDERS = {
    "Load LoRA (any format)": "loras",
    "Load CLIP": "text_encoders",
    "Load CLIP Vision": "clip_vision",
    "Load Audio Encoder": "audio_encoders",
    "Load VAE": "vae",
}
OTHER_MODELS = tuple(
    plain(UNKNOWN, model, sign, elsewhere=f"Put it into models/{FOLDERS[loader]} and use {loader}.")
    for model, sign, loader in (
        ("a LoRA", LORA, "Load LoRA (any format)"),
        ("a T5 encoder other than umt5", r"encoder\.block\.0\.layer\.0\.", "Load CLIP"),
        ("a CLIP text encoder", r"text_model\.encoder\.layers\.0\.", "Load CLIP"),
        (
            "a CLIP vision encoder under open_clip's names",
            r"visual\.transformer\.resblocks\.0\.",
            "Load CLIP Vision",
        ),
        ("a CLIP text encoder", r"(\w+\.)?transformer\.resblocks\.0\.", "Load CLIP"),
        ("a language model", r"(model\.)?(language_model\.)?(model\.)?layers\.0\.self_attn\.q_proj\.", "Load CLIP"),
        ("a vision encoder other than CLIP's", r"vision_model\.encoder\.layers\.0\.", "Load CLIP Vision"),
        ("a vision encoder other than CLIP's", r"encoder\.layer\.0\.attention\.attention\.", "Load CLIP Vision"),
        ("an audio encoder", r"(wav2vec2\.)?feature_extractor\.conv_layers\.0\.", "Load Audio Encoder"),
        ("an audio encoder", r"(model\.)?encoder\.embed_positions\.", "Load Audio Encoder"),
        ("a VAE", r"decoder\.(conv1|conv_in|conv_norm_out|norm_out|up_blocks|up|upsamples|head)\.", "Load VAE"),
        ("a VAE", r"(taesd_)?decoder\.1\.(weight|conv\.)", "Load VAE"),
    )
)
