"""Wan 2.1 and 2.2. The experts of Wan 2.2 t2v have the very same names and shapes as Wan 2.1."""

from .family import DIFFUSERS, DIT, Family, Naming, SharingModule, Variant
from .rules import Rule

# diffusers' names in a block, also of VACE -> Wan's own, which are ComfyUI's
_BLOCK = {
    r"attn1\.to_([qkv])(?=\.)": r"self_attn.\2",
    r"attn1\.to_out\.0(?=\.)": "self_attn.o",
    r"attn1\.norm_([qk])(?=\.)": r"self_attn.norm_\2",
    r"attn2\.to_([qkv])(?=\.)": r"cross_attn.\2",
    r"attn2\.to_out\.0(?=\.)": "cross_attn.o",
    r"attn2\.norm_([qk])(?=\.)": r"cross_attn.norm_\2",
    r"attn2\.add_([kv])_proj(?=\.)": r"cross_attn.\2_img",
    r"attn2\.norm_added_k(?=\.)": "cross_attn.norm_k_img",
    r"norm2(?=\.)": "norm3",
    r"ffn\.net\.0\.proj(?=\.)": "ffn.0",
    r"ffn\.net\.2(?=\.)": "ffn.2",
    r"scale_shift_table$": "modulation",
    r"proj_in(?=\.)": "before_proj",
    r"proj_out(?=\.)": "after_proj",
}
FROM_DIFFUSERS = (
    Rule(r"condition_embedder\.time_embedder\.linear_1(?=\.)", ("time_embedding.0",)),
    Rule(r"condition_embedder\.time_embedder\.linear_2(?=\.)", ("time_embedding.2",)),
    Rule(r"condition_embedder\.time_proj(?=\.)", ("time_projection.1",)),
    Rule(r"condition_embedder\.text_embedder\.linear_1(?=\.)", ("text_embedding.0",)),
    Rule(r"condition_embedder\.text_embedder\.linear_2(?=\.)", ("text_embedding.2",)),
    Rule(r"condition_embedder\.image_embedder\.pos_embed$", ("img_emb.emb_pos",)),
    Rule(r"condition_embedder\.image_embedder\.norm1(?=\.)", ("img_emb.proj.0",)),
    Rule(r"condition_embedder\.image_embedder\.ff\.net\.0\.proj(?=\.)", ("img_emb.proj.1",)),
    Rule(r"condition_embedder\.image_embedder\.ff\.net\.2(?=\.)", ("img_emb.proj.3",)),
    Rule(r"condition_embedder\.image_embedder\.norm2(?=\.)", ("img_emb.proj.4",)),
    Rule(r"scale_shift_table$", ("head.modulation",)),
    Rule(r"proj_out(?=\.)", ("head.head",)),
    *(Rule(rf"((?:vace_)?blocks\.\d+)\.{theirs}", (rf"\1.{wans}",)) for theirs, wans in _BLOCK.items()),
)

_VACE = "Makes video from a control video or pictures: use WanVaceToVideo."
_TEXT = "Makes video from text. It takes no start picture."
_PICTURE = "Makes video from a picture: use WanImageToVideo with a start picture"

WAN = Family(
    DIT,
    (
        Naming(
            (r"head\.modulation$", r"blocks\.\d+\.self_attn\.q\.weight$"),
            (
                Variant("Wan 2.1 VACE", "vace_patch_embedding.weight", use=_VACE),
                Variant(
                    "Wan camera control",
                    "control_adapter.conv.weight",
                    use="Makes video from a picture and a camera path: use WanCameraImageToVideo.",
                ),
                Variant(
                    "Wan 2.2 s2v",
                    "casual_audio_encoder.encoder.final_linear.weight",
                    use="Makes video from a picture and sound: use WanSoundImageToVideo.",
                ),
                Variant(
                    "Wan HuMo",
                    "audio_proj.audio_proj_glob_1.layer.bias",
                    use="Makes video from a picture and sound: use WanHuMoImageToVideo.",
                ),
                Variant(
                    "Wan 2.2 animate",
                    "face_adapter.fuser_blocks.0.k_norm.weight",
                    use="Makes video from a picture and the motion of another video: use WanAnimateToVideo.",
                ),
                Variant("Wan SCAIL 2", "patch_embedding_mask.weight"),
                Variant("Wan SCAIL", "patch_embedding_pose.weight"),
                Variant("WanDancer", "patch_embedding_global.weight"),
                Variant(
                    "Wan 2.1 flf2v",
                    "img_emb.emb_pos",
                    use="Makes video from a first and a last picture: use WanFirstLastFrameToVideo.",
                ),
                Variant("Wan 2.1 i2v", "img_emb.proj.0.bias", use=f"{_PICTURE} and CLIP Vision."),
                Variant(
                    "Wan 2.2 5B",
                    "head.head.weight",
                    0,
                    4 * 48,
                    use="Makes video from text or a picture: use Wan22ImageToVideoLatent and the Wan 2.2 VAE.",
                ),
                Variant("Wan 2.2 i2v", "patch_embedding.weight", 1, 36, use=f"{_PICTURE}."),
                Variant("Wan 2.1 t2v", "patch_embedding.weight", 1, 16, use=_TEXT),
                Variant("Wan 2.1 t2v"),
            ),
        ),
        Naming(
            (r"blocks\.\d+\.attn1\.to_q\.weight$", r"condition_embedder\.", r"scale_shift_table$"),
            (
                Variant(f"Wan 2.1 VACE{DIFFUSERS}", "vace_patch_embedding.weight", use=_VACE),
                Variant(
                    f"Wan 2.1 i2v{DIFFUSERS}",
                    "condition_embedder.image_embedder.norm1.weight",
                    use=f"{_PICTURE} and CLIP Vision.",
                ),
                Variant(f"Wan 2.1 t2v{DIFFUSERS}", "patch_embedding.weight", 1, 16, use=_TEXT),
                Variant(f"Wan 2.1 t2v{DIFFUSERS}"),
            ),
            FROM_DIFFUSERS,
            core_reads=False,
            is_lightx2vs=False,
        ),
    ),
    name="Wan",
    takes=(
        r"(vace_)?blocks\.\d+\.(self|cross)_attn\.[qkvo]",
        r"blocks\.\d+\.cross_attn\.[kv]_img",
        r"(vace_)?blocks\.\d+\.ffn\.[02]",
    ),
    keeps=(
        (r"vace_blocks\.\d+\.(before|after)_proj", "joins VACE's blocks to the model's"),
        (r"blocks\.\d+\.audio_cross_attn_wrapper\..+", "is part of the audio adapter"),
        (r"(casual_audio_encoder|audio_injector|audio_proj)\..+", "is part of the audio adapter"),
        (r"(music_injector|music_encoder|music_projection)(\..+)?", "is part of the music adapter"),
        (r"(face_adapter|face_encoder)\..+", "is part of the face adapter"),
    ),
    file_names=("wan", "humo", "chrono_edit", "causal_forcing"),
    phases=("self_attn", "cross_attn", "ffn"),
    sharing=(
        # x goes to q, k and v; norm_q, norm_k and apply_rope1 get q's and k's outputs. x is bound anew after v only
        SharingModule("comfy.ldm.wan.model:WanSelfAttention.forward", (("q", "k", "v"),), ("61313ae9b46c",)),
        # k and v get the context, q something else; norm_q and norm_k get outputs
        SharingModule("comfy.ldm.wan.model:WanT2VCrossAttention.forward", (("k", "v"),), ("25fcc1db0826",)),
        # two parts of one context, each cut out once, each for two layers; norms get outputs
        SharingModule(
            "comfy.ldm.wan.model:WanI2VCrossAttention.forward", (("k", "v"), ("k_img", "v_img")), ("95684632299d",)
        ),
        # as Wan's own; the cache is written to after v, and has memory of its own
        SharingModule("comfy.ldm.wan.ar_model:CausalWanSelfAttention.forward", (("q", "k", "v"),), ("315ea206abd2",)),
    ),
    # LightX2V's distilled LoRAs: what is added to a block's modulation
    lora_endings=((r"\.diff_m$", ".modulation.diff"),),
)
