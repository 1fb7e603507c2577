"""The key formats of LoRA files (peft, diffusers, kohya, LightX2V ...), as tables. A new format is a row."""

import re
from collections.abc import Iterator

from ..checkpoints.expert_names import HIGH, LOW
from ..common.compiled import COMPILED
from ..families import FAMILIES

# ending of a file's key -> core's; the first row that matches is used
ENDINGS = (
    # peft puts its adapter's name ("default") behind the matrix
    (r"\.lora_[Bb](?:\.[^.]+)?\.bias$", ".diff_b"),
    (r"\.lora_(?:[Aa]|down)(?:\.[^.]+)??(?:\.weight)?$", ".lora_down.weight"),
    (r"\.lora_(?:[Bb]|up)(?:\.[^.]+)??(?:\.weight)?$", ".lora_up.weight"),
    (r"\.lora_magnitude_vector(?:\.[^.]+)??(?:\.weight)?$", ".dora_scale"),
    (r"\.(?:lora|network)_alpha$", ".alpha"),
    *(ending for family in FAMILIES for ending in family.lora_endings),
    # diffusers' older scripts
    (r"[._]lora\.(up|down)\.weight$", r".lora_\1.weight"),
    (r"\.lora_linear_layer\.(up|down)\.weight$", r".lora_\1.weight"),
)
# keys of a scale of a quantized factor
SCALE = re.compile(r"\.(?:lora_(?:up|down|[ABab])|hada_w[12]_[ab]|lokr_w[12](?:_[ab])?)(?:\.\w+)?[._]\w*scale\w*$")
# beginnings of text encoder layers: kohya's and OneTrainer's without dots, diffusers', ComfyUI's, OMI's
TEXT_ENCODER = re.compile(
    r"(?:lora_(?:prior_)?te\d*_|lora_text_encoder|text_encoders?[\d_]*\.|cond_stage_model\.|te\d?\."
    r"|(?:clip_[lghm]|t5\w*|umt5\w*|llama\w*|qwen\w*)\.)"
)
# a key of core's: the layer's name, and the suffixes that core's adapters read
SUFFIX = re.compile(
    r"(?P<layer>.+)\.(?P<suffix>lora_(?:up|down|mid)\.weight|alpha|dora_scale|reshape_weight"
    r"|diff|diff_b|set_weight|w_norm|b_norm"
    r"|hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2|[ab][12]\.weight|oft_blocks|rescale)"
)
# the name of peft's adapter, between the matrix and "weight"
ADAPTER = re.compile(r"\.lora_(?:[ABab]|up|down|magnitude_vector)\.(?P<adapter>[^.]+)(?:\.(?:weight|bias))$")
# the ending of one of the two matrices in another format than core's
MATRIX = re.compile(
    r"(\.lora_(?=[ABab]|(?:up|down)(?!\.weight$))|[._]lora\.|\.lora_linear_layer\.)"
    r"(?:[ABab]|up|down)((?:\.(?!bias$)[^.]+)?(?:\.weight)?)$"
)
_MODULES = ("transformer", "unet", "dit", "model", "expert")
# first word of a layer's name -> the expert of Wan 2.2 that it names
EXPERTS = {
    # diffusers numbers only the low-noise expert, ai-toolkit both
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
# words that may stand before a layer's name, several in a row too
WRAPPERS = (
    *("base_model", "model", "diffusion_model", "transformer", "unet", "pipe", "dit", "net", "module", "denoiser"),
    *("generator", "generator_ema", "student", "ema", "model_ema", "lora", "lycoris", COMPILED),
    *EXPERTS,
)
# the same in names without dots, the longest first
_FLAT_WRAPPER = re.compile(
    "(" + "|".join(sorted((word.strip("_") for word in WRAPPERS), key=len, reverse=True)) + ")_", re.IGNORECASE
)
# prefixes of trainers that write names without dots, also found before names with dots
_TRAINERS = re.compile(r"(lora_unet|lora_transformer|lora|lycoris)_+")
# words of wrapper modules that training puts around layers
_AROUND = re.compile(r"(?:(?<=_)|^)(?:orig_mod|checkpoint_wrapped_module|fsdp_wrapped_module|processor)_")


def split_key(key: str) -> tuple[str, str] | None:
    """A file's key -> (layer's name in the file, core's suffix); None for a key that is no LoRA's."""
    for ending, cores in ENDINGS:
        key, found = re.subn(ending, cores, key)
        if found:
            break
    match = SUFFIX.fullmatch(key)
    return None if match is None else (match["layer"], match["suffix"])


def key_format(key: str) -> str:
    """An id of the format of a matrix key, the same for both matrices of a pair; "" for core's own format."""
    match = MATRIX.search(key)
    return f"{match[1]}#{match[2]}" if match else ""


def adapter(key: str) -> str:
    """The name of peft's adapter in a key, "" if there is none."""
    match = ADAPTER.search(key)
    return match["adapter"] if match else ""


def flat(layer: str) -> str:
    """A layer's name with "_" in place of dots, without the words of wrapper modules."""
    name = re.sub("_+", "_", layer.replace(".", "_")).strip("_")
    return _AROUND.sub("", f"{name}_").rstrip("_")


def unwrapped(layer: str) -> Iterator[tuple[str, str]]:
    """Yields (word, flat name) with one more leading wrapper word removed each time; the first word is ""."""
    word: str | None = ""
    while word is not None:
        yield word, flat(layer)
        word, layer = _unwrap(layer)


def _unwrap(layer: str) -> tuple[str | None, str]:
    """(first word, rest of the name) if the first word is of a wrapper, else (None, layer)."""
    first, dot, rest = layer.partition(".")
    if dot and first.lower() in WRAPPERS:
        return first.lower(), rest
    match = _TRAINERS.match(layer) if dot else _FLAT_WRAPPER.match(flat(layer))
    return (match[1].lower(), match.string[match.end() :]) if match else (None, layer)


def without_wrappers(layer: str) -> list[str]:
    """The flat name, then the same with one more leading wrapper word removed each time."""
    return [name for _, name in unwrapped(layer)]
