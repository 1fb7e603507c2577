"""Modules that are added to a model and do not load without it: what they are, and what they need."""

from .family import UNKNOWN, Family, plain

ALONE = "It does not load alone: "
WHOLE = f"{ALONE}get {{}} as one file, which has Wan's own blocks too."
PATCH = f"{ALONE}put it into models/model_patches and use Load Model Patch beside the model that it is for."
CONTROL = f"{ALONE}put it into models/controlnet and use Load ControlNet Model beside the model that it is for."
WRAPPER = f"{ALONE}ComfyUI itself has no place for it, the ComfyUI-WanVideoWrapper pack takes it beside Wan."
PACK = f"{ALONE}it needs a node pack for {{}}."


def _family(model: str, sign: str, elsewhere: str) -> Family:
    return plain(UNKNOWN, f"{model}, an add-on", sign, elsewhere=elsewhere)


# what they are, a pattern that begins some name, and where they belong; the more special one first. Those that repeat
# the blocks of their model have names that no whole model has, and are asked for first
WITH_BLOCKS = (
    _family("a Uni3C control model for Wan", r"controlnet_patch_embedding\.", PATCH),
    _family("a control model for Z-Image", r"control_(all_x_embedder|layers|noise_refiner)\.", PATCH),
    _family("a block-wise control model for Qwen-Image", r"controlnet_blocks\.\d+\.y_rms\.", PATCH),
    _family("SUPIR's control model", r"(model\.)?(diffusion_model\.)?project_modules\.", PATCH),
    _family(
        "a ControlNet",
        r"(control_model|controlnet_\w+|control_(blocks|img_in|add_embedding)|(input|pos_embed)_(hint_block|input)"
        r"|zero_convs|lora_controlnet|after_proj_list)\b",
        CONTROL,
    ),
    _family("AnimateDiff's motion modules", r"(.*\.)?motion_modules\.", PACK.format("AnimateDiff")),
)

ADD_ONS = (
    _family("VACE's modules for Wan", r"vace_(blocks\.\d+|patch_embedding)\.", WHOLE.format("Wan VACE")),
    _family("HuMo's audio modules for Wan", r"blocks\.\d+\.audio_cross_attn_wrapper\.", WHOLE.format("Wan HuMo")),
    _family(
        "MultiTalk's audio modules for Wan (InfiniteTalk)",
        r"(audio_proj\.proj1|blocks\.\d+\.audio_cross_attn)\.",
        PATCH,
    ),
    _family("HuMo's audio modules for Wan", r"audio_proj\.", WHOLE.format("Wan HuMo")),
    _family(
        "Animate's modules for motion, face and pose of Wan",
        r"(motion_encoder|face_encoder|face_adapter|pose_patch_embedding|(enc|dec)\.(net_app|direction)\b)",
        WHOLE.format("Wan 2.2 Animate"),
    ),
    _family("SCAIL's modules for poses of Wan", r"patch_embedding_(pose|mask)\.", WHOLE.format("Wan SCAIL")),
    _family(
        "WanDancer's modules for music", r"(patch_embedding_global|head_global|music_\w+)\.", WHOLE.format("WanDancer")
    ),
    _family(
        "audio modules of Wan (s2v)",
        r"(casual_audio_encoder|audio_injector|frame_packer|motioner|trainable_cond_mask|cond_encoder)\.",
        WHOLE.format("Wan 2.2 s2v"),
    ),
    _family(
        "LightX2V's audio adapter for Wan",
        r"(audio_adapter\.)?ca\.\d+\.",
        f"{ALONE}only LightX2V's own engine reads it, beside Wan 2.1 i2v.",
    ),
    _family("FantasyTalking's or FantasyPortrait's modules for Wan", r"proj_model\.", WRAPPER),
    _family("Lynx's modules for Wan", r"blocks\.\d+\.(self_attn\.ref|cross_attn\.ip)_adapter\.", WRAPPER),
    _family("ReCamMaster's camera modules for Wan", r"blocks\.\d+\.cam_encoder\.", WRAPPER),
    _family("motion modules for Wan", r"blocks\.\d+\.motion_attn\.", WRAPPER),
    _family("a camera adapter for Wan", r"control_adapter\.", WHOLE.format("Wan camera control")),
    _family("the reference module of Wan Fun Control", r"ref_conv\.", WHOLE.format("Wan Fun Control")),
    _family("image modules of Wan (i2v)", r"img_emb\.", WHOLE.format("Wan i2v")),
    _family("a T2I adapter", r"(adapter\.)?body\.\d+\.(resnets|in_conv|block1|block2)\b", CONTROL),
    _family("PuLID's modules", r"pulid_\w+\.", PACK.format("PuLID")),
    _family(
        "an IP-Adapter", r"(ip_adapter\w*|image_proj|\w+\.\d+\.processor\.ip_adapter\w*)\.", PACK.format("IP-Adapters")
    ),
    _family(
        "Flux Redux",
        r"redux_(up|down)\.",
        f"{ALONE}put it into models/style_models and use Load Style Model beside Flux.",
    ),
    _family("LLLite's or USO's modules", r"(lllite_\w+|feature_embedder)\.", PATCH),
)
