"""The table of schemes: the names a user picks, with LightX2V's old and new names, and their formats and kernels."""

from dataclasses import dataclass

from ..common.printable import PrintableError

DIT, T5, CLIP = "dit", "t5", "clip"
EVERYWHERE = (DIT, T5, CLIP)
AUTO = "auto"


@dataclass(frozen=True)
class Scheme:
    """`format`: of the weights, None for the file's. `kernel`: name of the preferred kernel, None for the best one of
    the machine. `components`: the loaders that accept it, as in LightX2V. `aliases`: LightX2V's other names."""

    name: str
    format: str | None
    kernel: str | None
    components: tuple[str, ...] = EVERYWHERE
    aliases: tuple[str, ...] = ()


class UnknownSchemeError(PrintableError, ValueError):
    """The name is no scheme, or no scheme of this loader."""


def _channel(dtype: str, library: str) -> str:
    return f"W-{dtype}-channel-sym-A-{dtype}-channel-sym-dynamic-{library}"


_BLOCK128 = "W-fp8-block128-sym-A-fp8-channel-group128-sym-dynamic-Deepgemm"

SCHEMES = (
    Scheme(AUTO, None, None),
    Scheme("fp8-vllm", "fp8-channel", "vllm", aliases=(_channel("fp8", "Vllm"), _channel("fp8", "Vllm-ActSgl"))),
    Scheme("int8-vllm", "int8-channel", "vllm", aliases=("int8", "w8a8-int8", _channel("int8", "Vllm"))),
    Scheme(
        "fp8-sgl",
        "fp8-channel",
        "sgl",
        aliases=("fp8", "w8a8-fp8", _channel("fp8", "Sgl"), _channel("fp8", "Sgl-ActVllm")),
    ),
    Scheme("int8-sgl", "int8-channel", "sgl", (DIT, T5), (_channel("int8", "Sgl"), _channel("int8", "Sgl-ActVllm"))),
    Scheme("fp8-q8f", "fp8-channel", "q8f", aliases=(_channel("fp8", "Q8F"),)),
    Scheme("int8-q8f", "int8-channel", "q8f", aliases=(_channel("int8", "Q8F"),)),
    Scheme("fp8-torchao", "fp8-channel", "torchao", aliases=(_channel("fp8", "Torchao"),)),
    Scheme("int8-torchao", "int8-channel", "torchao", aliases=(_channel("int8", "Torchao"),)),
    Scheme("fp8-triton", "fp8-channel", "triton", aliases=(_channel("fp8", "Triton"),)),
    Scheme("int8-triton", "int8-channel", "triton", aliases=(_channel("int8", "Triton"),)),
    Scheme("fp8-f16-accum", "fp8-channel", "triton-f16"),
    Scheme("fp8-pertensor", "fp8-tensor", "torch", (DIT,)),
    Scheme(
        "fp8-b128-deepgemm", "fp8-block128", "deepgemm", (DIT,), ("w8a8-fp8block", _BLOCK128, f"{_BLOCK128}-ActSgl")
    ),
    Scheme("int4-g128-marlin", "int4-g128", "marlin", (DIT,), ("W-int4-group128-sym-Marlin",)),
    Scheme("mxfp8", "mxfp8", "comfy-kitchen", (DIT,), ("w8a8-mxfp8",)),
    Scheme("nvfp4", "nvfp4", "comfy-kitchen", (DIT,), ("w4a4-nvfp4",)),
    Scheme("nvfp4-split-n-workaround", "nvfp4", "comfy-kitchen", (DIT,)),
    Scheme("mxfp6-mxfp8", "mxfp6", "triton", (DIT,), ("mxfp6",)),
    Scheme("mxfp4", "mxfp4", "triton", (DIT,), ("mxfp4-triton",)),
    # this pack's own: the same formats on what needs no library
    Scheme("fp8-torch", "fp8-channel", "torch"),
    Scheme("int8-torch", "int8-channel", "torch"),
    Scheme("int8-comfy-kitchen", "int8-channel", "comfy-kitchen"),
    Scheme("int8-comfyui", "int8-channel", "comfyui"),
    Scheme("int8-convrot", "int8-convrot", "comfy-kitchen"),
    Scheme("int8-convrot-torch", "int8-convrot", "torch"),
    Scheme("int8-convrot-triton", "int8-convrot", "triton"),
    Scheme("int8-convrot-comfyui", "int8-convrot", "comfyui"),
    Scheme("w4a8", "w4a8", "comfy-kitchen", aliases=("asym_w4a8_int8",)),
    Scheme("w4a8-torch", "w4a8", "torch"),
    Scheme("w4a8-triton", "w4a8", "triton"),
    Scheme("fp8-b128-triton", "fp8-block128", "triton"),
    Scheme("int4-g128-triton", "int4-g128", "triton"),
    Scheme("awq-w4a16", "awq-w4a16", "triton", aliases=("awq-w4a16-triton", "awq_w4a16")),
    Scheme("convrot-w4a4", "convrot-w4a4", "comfy-kitchen", aliases=("convrot_w4a4",)),
    Scheme("convrot-w4a4-torch", "convrot-w4a4", "torch"),
    Scheme("int4-g128-convrot", "int4-g128-convrot", "triton", aliases=("int4-g128-convrot-triton",)),
    Scheme("fp8-dequant", "fp8-channel", "dequant"),
    Scheme("int8-dequant", "int8-channel", "dequant"),
    Scheme("int8-convrot-dequant", "int8-convrot", "dequant"),
    Scheme("awq-w4a16-dequant", "awq-w4a16", "dequant"),
    Scheme("w4a8-dequant", "w4a8", "dequant"),
    Scheme("convrot-w4a4-dequant", "convrot-w4a4", "dequant"),
    Scheme("int4-g128-convrot-dequant", "int4-g128-convrot", "dequant"),
    Scheme("mxfp4-dequant", "mxfp4", "dequant"),
    Scheme("mxfp6-dequant", "mxfp6", "dequant"),
    Scheme("fp8-reference", "fp8-channel", "reference"),
    Scheme("int8-reference", "int8-channel", "reference"),
    Scheme("int8-convrot-reference", "int8-convrot", "reference"),
    Scheme("awq-w4a16-reference", "awq-w4a16", "reference"),
    Scheme("w4a8-reference", "w4a8", "reference"),
    Scheme("convrot-w4a4-reference", "convrot-w4a4", "reference"),
    Scheme("int4-g128-convrot-reference", "int4-g128-convrot", "reference"),
    Scheme("mxfp4-reference", "mxfp4", "reference"),
    Scheme("mxfp6-reference", "mxfp6", "reference"),
    Scheme("dequant", None, "dequant"),
    Scheme("reference", None, "reference"),
)

_BY_NAME = {name.lower(): row for row in SCHEMES for name in (row.name, *row.aliases)}

# LightX2V's names for what this pack does not load, with the reason or remedy
_ELSEWHERE = {
    "default": "means unquantized weights: use ComfyUI's own loaders",
    "default-forcefp32": "means unquantized weights: use ComfyUI's own loaders",
    "default-force-fp32": "means unquantized weights: use ComfyUI's own loaders",
    "gguf": "is a GGUF file: use the ComfyUI-GGUF pack",
    "w-gguf": "is a GGUF file: use the ComfyUI-GGUF pack",
    "calib": "records calibration data and is no way to run a model",
    "calibmax": "records calibration data and is no way to run a model",
    "npu": "is for Ascend hardware, which this pack does not serve",
    "musa": "is for Moore Threads hardware, which this pack does not serve",
    "tmo": "is for Cambricon hardware, which this pack does not serve",
    "iluvatar": "is for Iluvatar hardware, which this pack does not serve",
    "dcu": "is for Hygon hardware, which this pack does not serve",
    "xpu": "is for Intel hardware, which this pack does not serve",
    "e5m2": "is only read: such weights become fp8-channel at load, which has one more bit of every value. Pick auto, "
    "or fp8-channel to make a file",
    "intel": "is for Intel hardware, which this pack does not serve",
}


def resolve(name: str, component: str = DIT) -> Scheme:
    """The row for a scheme name, alias or legacy mm_type name, in any case. component: "dit", "t5" or "clip". Raises
    UnknownSchemeError, which lists the schemes of this loader, or says what a name of LightX2V's is that is none here,
    however its words are joined."""
    row = _BY_NAME.get(name.strip().lower())
    if row is None:
        if meaning := elsewhere(name):
            raise UnknownSchemeError(f"Scheme {name!r} {meaning}.")
        raise UnknownSchemeError(f"Unknown scheme {name!r}. Schemes here: {', '.join(names(component))}.")
    if component not in row.components:
        raise UnknownSchemeError(
            f"Scheme {row.name} is not made for the {component} model. Schemes here: {', '.join(names(component))}."
        )
    return row


def elsewhere(name: str) -> str | None:
    """What to say of a name that is none here but is known, None if it is not."""
    words = name.strip().lower().replace("_", "-")
    found = (key for key in _ELSEWHERE if words == key or words.startswith(f"{key}-") or words.endswith(f"-{key}"))
    return _ELSEWHERE.get(next(found, ""))


def names(component: str) -> list[str]:
    """Names of the schemes that the loader of this component offers, "auto" first."""
    return [row.name for row in SCHEMES if component in row.components]


def schemes_for(formats, component: str) -> list[str]:
    """Names of the schemes that fit a file with these formats, "auto" first; empty for a file without any."""
    found = set(formats)
    return [
        r.name for r in SCHEMES if component in r.components and found and (r.format is None or {r.format} == found)
    ]


@dataclass(frozen=True)
class SchemeChoice:
    """The output of the node Quantization Scheme (type X2V_SCHEME). `dit`, `t5`, `clip`: scheme names.
    `compute_dtype`: "auto", "bf16", "fp16" or "fp32". `strict`: an error instead of a fallback if the scheme's own
    kernel cannot run. `transcode`: weights are converted at load to the scheme's format instead of being refused, and
    with `auto` to one that this machine multiplies without dequantizing."""

    dit: str = AUTO
    t5: str = AUTO
    clip: str = AUTO
    compute_dtype: str = AUTO
    strict: bool = False
    transcode: bool = False
