"""Modules that are added to a model and do not load without it: what they are, and what they need."""

from .family import UNKNOWN, Family

ALONE = "It does not load alone: "
WHOLE = f"{ALONE}get {{}} as one file, which holds Wan's own blocks too."
PATCH = f"{ALONE}put it into models/model_patches and use ModelPatchLoader beside the model that it is for."
CONTROL = f"{ALONE}put it into models/controlnet and use Load ControlNet Model beside the model that it is for."

# what they are -> a pattern that begins some name, and where they belong; the more special one first
ADD_ONS = tuple(
    Family(UNKNOWN, f"{model}, an add-on", (sign,), elsewhere=elsewhere)
    for model, sign, elsewhere in (
        ("VACE's modules for Wan", r"vace_(blocks\.\d+|patch_embedding)\.", WHOLE.format("Wan VACE")),
        ("MultiTalk's audio modules for Wan", r"audio_proj\.proj1\.", PATCH),
        ("a Uni3C control model for Wan", r"controlnet_patch_embedding\.", PATCH),
        ("a control model for Z-Image", r"control_(all_x_embedder|layers|noise_refiner)\.", PATCH),
        ("a block-wise control model for Qwen-Image", r"controlnet_blocks\.\d+\.y_rms\.", PATCH),
        (
            "Animate's modules for motion, face and pose of Wan",
            r"(motion_encoder|face_encoder|face_adapter|pose_patch_embedding)\.",
            WHOLE.format("Wan 2.2 Animate"),
        ),
        (
            "audio modules of Wan (s2v)",
            r"(casual_audio_encoder|audio_injector|frame_packer|trainable_cond_mask|cond_encoder)\.",
            WHOLE.format("Wan 2.2 s2v"),
        ),
        ("HuMo's audio modules for Wan", r"audio_proj\.", WHOLE.format("Wan HuMo")),
        (
            "LightX2V's audio adapter for Wan",
            r"(audio_adapter\.)?ca\.\d+\.",
            f"{ALONE}only LightX2V's own engine reads it, beside Wan 2.1 i2v.",
        ),
        ("a camera adapter for Wan", r"control_adapter\.", WHOLE.format("Wan camera control")),
        ("image modules of Wan (i2v)", r"(img_emb|ref_conv)\.", WHOLE.format("Wan i2v")),
        (
            "a ControlNet",
            r"(control_model|controlnet_\w+|control_(blocks|img_in|add_embedding)|input_hint_block|zero_convs|lora_controlnet)\b",
            CONTROL,
        ),
        ("an IP-Adapter", r"(ip_adapter|image_proj)\.", f"{ALONE}it needs a node pack for IP-Adapters."),
    )
)
