"""Schemes that are none, or are for another format, another model or another machine."""

from x2v_quant.demo import assets

from .case import ErrorCase, linked, loaded, scheme
from .place import Place, demo

INT8 = assets.names("int8").t2v
NODE = "X2VScheme"


def early(words: str, **inputs) -> ErrorCase:
    """Quantization Scheme refuses its inputs before anything runs."""

    def make(place: Place):
        return {"scheme": scheme(**inputs), **loaded("X2VLoadDiT", INT8, scheme=["scheme", 0])}

    return ErrorCase(NODE, make, (words,), early=True)


def late(key: str, value: str, *words: str, loader: str = "X2VLoadDiT", name: str = INT8) -> ErrorCase:
    """The loader refuses what a link gave Quantization Scheme."""

    def make(place: Place):
        prompt = {"scheme": scheme(), **loaded(loader, name, scheme=["scheme", 0])}
        return linked(prompt, "scheme", key, value)

    return ErrorCase(loader, make, words)


def loading(content, *words: str, **inputs) -> ErrorCase:
    """Load Quantized DiT refuses the scheme for a file; content: None for the demo's int8."""

    def make(place: Place):
        name = INT8 if content is None else place.put("diffusion_models", "model.safetensors", content)
        return {"scheme": scheme(**inputs), **loaded("X2VLoadDiT", name, scheme=["scheme", 0])}

    return ErrorCase("X2VLoadDiT", make, words)


CASES = {
    "unknown": early("dit: Unknown scheme 'int9'. Schemes here: auto, fp8-vllm", dit="int9"),
    "only read": early(
        "dit: Scheme 'fp8-e5m2' is only read: such weights become fp8-channel at load, which has one more bit of every",
        dit="fp8-e5m2",
    ),
    "elsewhere": early("t5: Scheme 'Default' means unquantized weights: use ComfyUI's own loaders.", t5="Default"),
    "component": early("clip: Scheme int8-sgl is not made for the clip model. Schemes here: auto", clip="int8-sgl"),
    "unknown, linked": late("dit", "int9", "Unknown scheme 'int9'. Schemes here: auto, fp8-vllm"),
    "elsewhere, linked": late("dit", "w-gguf", "Scheme 'w-gguf' is a GGUF file: use the ComfyUI-GGUF pack."),
    "component, linked": late(
        "t5",
        "nvfp4",
        "Scheme nvfp4 is not made for the t5 model. Schemes here: auto",
        loader="X2VLoadT5",
        name=assets.names("int8").t5,
    ),
    "format": loading(
        None,
        f"{INT8} has int8-channel weights, scheme fp8-sgl is for fp8-channel. Pick one of: auto, int8-vllm",
        'or switch "transcode at load" on in Quantization Scheme to convert the weights.',
        dit="fp8-sgl",
    ),
    "strict": loading(
        None,
        f"{INT8}, layer ",
        "No kernel for int8-channel on ",
        "vllm needs ",
        "Switch strict off to let the next kernel take over.",
        dit="int8-vllm",
        strict=True,
    ),
    "strict, another file": loading(
        demo("t2v", kind="fp8"),
        "model.safetensors, layer ",
        "No kernel for fp8-channel on ",
        "Switch strict off",
        dit="fp8-sgl",
        strict=True,
    ),
}
