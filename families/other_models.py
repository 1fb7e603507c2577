"""Models that no loader here takes: what they are told by, and what takes them."""

from dataclasses import replace

from .clip_vision import CLIP
from .family import UNKNOWN, Family, plain
from .t5 import UMT5

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


def _of(model: str, sign: str, loader: str, **layers) -> Family:
    """layers: what is known of them, for encoders that ComfyUI's own loaders take and a node quantizes."""
    return replace(
        plain(UNKNOWN, model, sign, elsewhere=f"Put it into models/{FOLDERS[loader]} and use {loader}."), **layers
    )


CALIBRATION = plain(
    UNKNOWN, "a calibration", r".*\.maxima$", elsewhere="Put it into input/calibration and use Load Calibration."
)
OTHER_MODELS = (
    CALIBRATION,
    _of("a LoRA", LORA, "Load LoRA (any format)"),
    _of("a T5 encoder other than umt5", r"encoder\.block\.0\.layer\.0\.", "Load CLIP", name="T5", takes=UMT5.takes),
    _of(
        "a CLIP text encoder",
        r"text_model\.encoder\.layers\.0\.",
        "Load CLIP",
        name="CLIP text",
        takes=(
            r"text_model\.encoder\.layers\.\d+\.self_attn\.(q|k|v|out)_proj",
            r"text_model\.encoder\.layers\.\d+\.mlp\.fc[12]",
        ),
    ),
    _of("a CLIP vision encoder under open_clip's names", r"visual\.transformer\.resblocks\.0\.", "Load CLIP Vision"),
    _of("a CLIP text encoder", r"(\w+\.)?transformer\.resblocks\.0\.", "Load CLIP"),
    _of(
        "a language model",
        r"(model\.)?(language_model\.)?(model|language_model)\.layers\.\d+\.self_attn\.q_proj\.",
        "Load CLIP",
        name="language model",
        takes=(
            r"(model|language_model)\.layers\.\d+\.self_attn\.[qkvo]_proj",
            r"(model|language_model)\.layers\.\d+\.mlp\.(gate|up|down)_proj",
        ),
        keeps=((r"visual\..+", "is part of the picture encoder, which LightX2V leaves alone"),),
    ),
    _of("a language model", r"layers\.0\.self_attn\.q_proj\.", "Load CLIP"),
    _of(
        "a vision encoder other than CLIP's",
        r"vision_model\.encoder\.layers\.0\.",
        "Load CLIP Vision",
        name=CLIP.name,
        takes=CLIP.takes,
    ),
    _of("a vision encoder other than CLIP's", r"encoder\.layer\.0\.attention\.attention\.", "Load CLIP Vision"),
    _of("an audio encoder", r"(wav2vec2\.)?feature_extractor\.conv_layers\.0\.", "Load Audio Encoder"),
    _of("an audio encoder", r"(model\.)?encoder\.embed_positions\.", "Load Audio Encoder"),
    _of("a VAE", r"decoder\.(conv1|conv_in|conv_norm_out|norm_out|up_blocks|up|upsamples|head)\.", "Load VAE"),
    _of("a VAE", r"(taesd_)?decoder\.1\.(weight|conv\.)", "Load VAE"),
)
