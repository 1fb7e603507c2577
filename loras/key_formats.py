"""How LoRA files spell the same thing: the tables, as data. A new spelling is a row."""

import re
from collections.abc import Iterator

from ..checkpoints.expert_names import HIGH, LOW
from ..common.compiled import COMPILED

# the end of a file's key -> how core spells it; the first row that fits counts
ENDINGS = (
    # peft puts its adapter's name ("default") behind the matrix
    (r"\.lora_[Bb](?:\.[^.]+)?\.bias$", ".diff_b"),
    (r"\.lora_(?:[Aa]|down)(?:\.[^.]+)??(?:\.weight)?$", ".lora_down.weight"),
    (r"\.lora_(?:[Bb]|up)(?:\.[^.]+)??(?:\.weight)?$", ".lora_up.weight"),
    (r"\.lora_magnitude_vector(?:\.[^.]+)??(?:\.weight)?$", ".dora_scale"),
    (r"\.(?:lora|network)_alpha$", ".alpha"),
    # XLabs' of Flux, a processor of each attention
    (r"\.processor\.qkv_lora1\.(up|down)\.weight$", r".img_attn.qkv.lora_\1.weight"),
    (r"\.processor\.qkv_lora2\.(up|down)\.weight$", r".txt_attn.qkv.lora_\1.weight"),
    (r"\.processor\.proj_lora1\.(up|down)\.weight$", r".img_attn.proj.lora_\1.weight"),
    (r"\.processor\.proj_lora2\.(up|down)\.weight$", r".txt_attn.proj.lora_\1.weight"),
    (r"\.processor\.qkv_lora\.(up|down)\.weight$", r".linear1_qkv.lora_\1.weight"),
    (r"\.processor\.proj_lora\.(up|down)\.weight$", r".linear2.lora_\1.weight"),
    # diffusers' older scripts
    (r"[._]lora\.(up|down)\.weight$", r".lora_\1.weight"),
    (r"\.lora_linear_layer\.(up|down)\.weight$", r".lora_\1.weight"),
    # LightX2V's distilled LoRAs: what is added to a block's modulation
    (r"\.diff_m$", ".modulation.diff"),
)
# a scale of a factor that is stored in codes
SCALE = re.compile(r"\.(?:lora_(?:up|down|[ABab])|hada_w[12]_[ab]|lokr_w[12](?:_[ab])?)(?:\.\w+)?[._]\w*scale\w*$")
# first words of layers that are a text encoder's: kohya's and OneTrainer's flat ones, diffusers', ComfyUI's, OMI's
TEXT_ENCODER = re.compile(
    r"(?:lora_(?:prior_)?te\d*_|lora_text_encoder|text_encoders?[\d_]*\.|cond_stage_model\.|te\d?\."
    r"|(?:clip_[lghm]|t5\w*|umt5\w*|llama\w*|qwen\w*)\.)"
)
# what core's adapters read behind a layer's name
SUFFIX = re.compile(
    r"(?P<layer>.+)\.(?P<suffix>lora_(?:up|down|mid)\.weight|alpha|dora_scale|reshape_weight"
    r"|diff|diff_b|set_weight|w_norm|b_norm"
    r"|hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2|[ab][12]\.weight|oft_blocks|rescale)"
)
# the name of peft's adapter, which stands between the matrix and "weight"
ADAPTER = re.compile(r"\.lora_(?:[ABab]|up|down|magnitude_vector)\.(?P<adapter>[^.]+)(?:\.(?:weight|bias))$")
# one of the two matrices, spelled in another way than core's
MATRIX = re.compile(
    r"(\.lora_(?=[ABab]|(?:up|down)(?!\.weight$))|[._]lora\.|\.lora_linear_layer\.)"
    r"(?:[ABab]|up|down)((?:\.(?!bias$)[^.]+)?(?:\.weight)?)$"
)
_MODULES = ("transformer", "unet", "dit", "model", "expert")
# first words of the layers of one of Wan 2.2's experts -> which one
EXPERTS = {
    # numbered as diffusers does, which calls the other one without a number, and as ai-toolkit does
    **{f"{module}{mark}": LOW for module in _MODULES for mark in ("_2", "2")},
    **{f"{module}_1": HIGH for module in _MODULES},
    **{
        word: expert
        for expert in (HIGH, LOW)
        for noise in (expert, f"{expert}_noise", f"{expert}noise")
        for word in (
            noise,
            f"{noise}_lora",
            *(f"{noise}_{one}" for one in _MODULES),
            *(f"{one}_{noise}" for one in _MODULES),
        )
    },
}
# what may stand before a layer's name, any of them one behind the other
WRAPPERS = (
    *("base_model", "model", "diffusion_model", "transformer", "unet", "pipe", "dit", "net", "module", "denoiser"),
    *("generator", "generator_ema", "student", "ema", "model_ema", "lora", "lycoris", COMPILED),
    *EXPERTS,
)
# the same where there are no dots: the longest first
_FLAT_WRAPPER = re.compile(
    "(" + "|".join(sorted((word.strip("_") for word in WRAPPERS), key=len, reverse=True)) + ")_", re.IGNORECASE
)
# before a name with dots there may be these of a trainer that else writes none
_TRAINERS = re.compile(r"(lora_unet|lora_transformer|lora|lycoris)_+")
# what training puts around any module
_AROUND = re.compile(r"(?:(?<=_)|^)(?:orig_mod|checkpoint_wrapped_module|fsdp_wrapped_module|processor)_")


def spelled(key: str) -> tuple[str, str] | None:
    """A file's key -> (layer as the file calls it, suffix as core spells it); None for a key that is no LoRA's."""
    for ending, cores in ENDINGS:
        key, found = re.subn(ending, cores, key)
        if found:
            break
    match = SUFFIX.fullmatch(key)
    return None if match is None else (match["layer"], match["suffix"])


def way(key: str) -> str:
    """How a key spells one of a layer's two matrices, the same text for both; "" for all that is spelled as core
    does."""
    match = MATRIX.search(key)
    return f"{match[1]}#{match[2]}" if match else ""


def adapter(key: str) -> str:
    """The name of peft's adapter in a key, "" without one."""
    match = ADAPTER.search(key)
    return match["adapter"] if match else ""


def flat(layer: str) -> str:
    """A layer's name as LoRAs without dots have it, without what training put around modules."""
    name = re.sub("_+", "_", layer.replace(".", "_")).strip("_")
    return _AROUND.sub("", f"{name}_").rstrip("_")


def peeled(layer: str) -> Iterator[tuple[str, str]]:
    """(the wrapper's word that was taken off last, "" at first; the flat name that is left), one after the other."""
    word: str | None = ""
    while word is not None:
        yield word, flat(layer)
        word, layer = _peel(layer)


def _peel(layer: str) -> tuple[str | None, str]:
    """(the first word if it is a wrapper's, else None; the rest)."""
    first, dot, rest = layer.partition(".")
    if dot and first.lower() in WRAPPERS:
        return first.lower(), rest
    match = _TRAINERS.match(layer) if dot else _FLAT_WRAPPER.match(flat(layer))
    return (match[1].lower(), match.string[match.end() :]) if match else (None, layer)


def without_wrappers(layer: str) -> list[str]:
    """The flat name as it is, then with one wrapper after the other taken off."""
    return [name for _, name in peeled(layer)]
