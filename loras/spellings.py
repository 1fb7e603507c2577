"""How LoRA files spell the same thing: the tables, as data. A new spelling is a row."""

import re

# the end of a file's key -> how core spells it; the first row that fits counts
ENDINGS = (
    # peft puts its adapter's name ("default") behind the matrix
    (r"\.lora_B(?:\.[^.]+)?\.bias$", ".diff_b"),
    (r"\.lora_A(?:\.[^.]+)??(?:\.weight)?$", ".lora_down.weight"),
    (r"\.lora_B(?:\.[^.]+)??(?:\.weight)?$", ".lora_up.weight"),
    (r"\.lora_magnitude_vector(?:\.[^.]+)??(?:\.weight)?$", ".dora_scale"),
    # diffusers' older scripts
    (r"[._]lora\.(up|down)\.weight$", r".lora_\1.weight"),
    (r"\.lora_linear_layer\.(up|down)\.weight$", r".lora_\1.weight"),
    # LightX2V's distilled LoRAs: what is added to a block's modulation
    (r"\.diff_m$", ".modulation.diff"),
)
# what core's adapters read behind a layer's name
SUFFIX = re.compile(
    r"(?P<layer>.+)\.(?P<suffix>lora_(?:up|down|mid)\.weight|alpha|dora_scale|reshape_weight"
    r"|diff|diff_b|set_weight|w_norm|b_norm"
    r"|hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2|[ab][12]\.weight|oft_blocks|rescale)"
)
# what may stand before a layer's name, one after the other, "_" for every dot
PREFIX = re.compile(
    r"(?:base_model|model|diffusion_model|transformer|unet|pipe_dit|dit|lora_unet|lora_transformer|lycoris)_{1,2}"
)


def spelled(key: str) -> tuple[str, str] | None:
    """A file's key -> (layer as the file calls it, suffix as core spells it); None for a key that is no LoRA's."""
    for ending, cores in ENDINGS:
        key, found = re.subn(ending, cores, key)
        if found:
            break
    match = SUFFIX.fullmatch(key)
    return None if match is None else (match["layer"], match["suffix"])


def flat(layer: str) -> str:
    """A layer's name as LoRAs without dots have it."""
    return layer.replace(".", "_")


def without_prefixes(layer: str) -> list[str]:
    """The flat name as it is, then with one prefix after the other taken off."""
    name = flat(layer)
    names = [name]
    while match := PREFIX.match(name):
        name = name[match.end() :]
        names.append(name)
    return names
