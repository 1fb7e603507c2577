"""Z-Image and Lumina 2. LightX2V has Z-Image under diffusers' names. comfy.utils.z_image_to_diffusers says the same as
the table; it needs ComfyUI, which reading headers does not, and leaves out what LoRAs have no names for."""

from .family import DIFFUSERS, DIT, ONLY_LIGHTX2V, Family, LightX2VNames, Naming, SharingModule, Variant
from .pairs import from_comfyui, pairs, to_comfyui

_NAMES = (
    *pairs(
        "#.attention.",
        "#.attention.",
        {"qkv": ("to_q", "to_k", "to_v"), "out": "to_out.0", "q_norm": "norm_q", "k_norm": "norm_k"},
        r"(?:layers|noise_refiner|context_refiner|siglip_refiner)\.\d+",
    ),
    # 2-1: one frame of patches of 2 x 2
    *pairs("", "all_", {"x_embedder": "x_embedder.2-1", "final_layer": "final_layer.2-1"}),
)
TO_DIFFUSERS = from_comfyui(_NAMES)

Z_IMAGE = Family(
    DIT,
    (
        Naming(
            (r"noise_refiner\.\d+\.attention\.to_k\.", r"all_final_layer\.2-1\."),
            (Variant(f"Z-Image{DIFFUSERS}"),),
            to_comfyui(_NAMES),
            joins=True,
        ),
        Naming(
            (r"noise_refiner\.\d+\.attention\.qkv\.", r"layers\.\d+\.adaLN_modulation\."),
            (
                # an activation before it in Lumina 2
                Variant("Lumina 2", "layers.0.adaLN_modulation.1.weight", lora_names=(TO_DIFFUSERS,)),
                Variant("Z-Image", lightx2v=LightX2VNames(TO_DIFFUSERS)),
            ),
        ),
    ),
    name="Z-Image (Lumina 2)",
    takes=(
        r"(layers|(noise|context|siglip)_refiner)\.\d+\.attention\.(qkv|out)",
        r"(layers|(noise|context|siglip)_refiner)\.\d+\.feed_forward\.w[123]",
        r"(layers|noise_refiner)\.\d+\.adaLN_modulation\.[01]",
    ),
    keeps=(
        (r"final_layer\..+", f"is the output layer; {ONLY_LIGHTX2V}"),
        (r"dec_net\..+", "is part of the pixel decoder"),
    ),
    lightx2v_also=(r"final_layer\.(linear|adaLN_modulation\.1)",),
    idle=frozenset({"norm_final.weight"}),
    file_names=("z.?image",),
    phases=("attention", "feed_forward"),
    sharing=(
        # x goes to w1 and w3, whose outputs are multiplied after both
        SharingModule("comfy.ldm.lumina.model:FeedForward.forward", (("w1", "w3"),), ("0b00374e651b",)),
    ),
)
