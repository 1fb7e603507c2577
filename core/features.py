"""Probes for features that older releases of ComfyUI lack. They test for the feature, not for a version.

Each imports what it looks at when it is asked: a command that needs none of it does not wait for torch."""

import functools
from collections.abc import Iterable
from pathlib import Path


@functools.cache
def requantizes_with_params() -> bool:
    """Whether core keeps all parameters of a quantized weight when it requantizes a patched one."""
    from comfy_kitchen.tensor import QuantizedTensor

    return hasattr(QuantizedTensor, "requantize_from_float")


@functools.cache
def reads_int8() -> bool:
    """Whether core's loaders read int8 layers (`int8_tensorwise`), as Save Quantized Model writes them."""
    import comfy.quant_ops

    return "int8_tensorwise" in comfy.quant_ops.QUANT_ALGOS


@functools.cache
def reads_awq() -> bool:
    """Whether core's loaders read int4 layers with zero points (`awq_w4a16`)."""
    import comfy.quant_ops

    return "awq_w4a16" in comfy.quant_ops.QUANT_ALGOS


@functools.cache
def reads_rotated_int4() -> bool:
    """Whether core's loaders read rotated int4 layers (`convrot_w4a4`)."""
    import comfy.quant_ops

    return "convrot_w4a4" in comfy.quant_ops.QUANT_ALGOS


@functools.cache
def multiplies_int8() -> bool:
    """Whether comfy-kitchen has an int8 linear operator."""
    import comfy_kitchen

    return hasattr(comfy_kitchen, "int8_linear")


@functools.cache
def rotates_int8() -> bool:
    """Whether comfy-kitchen has the layout of rotated int8 weights (ConvRot)."""
    import comfy_kitchen.tensor

    layout = getattr(comfy_kitchen.tensor, "TensorWiseINT8Layout", None)
    return layout is not None and hasattr(layout.Params, "convrot")


@functools.cache
def has_w4a8() -> bool:
    """Whether comfy-kitchen has the layout of rotated 4-bit weights that are multiplied as int8 (W4A8)."""
    import comfy_kitchen.tensor

    return hasattr(comfy_kitchen.tensor, "AsymW4A8Int8Layout")


@functools.cache
def reads_w4a8() -> bool:
    """Whether core's loaders read w4a8 layers (`asym_w4a8_int8`), as Save Quantized Model writes them."""
    import comfy.quant_ops

    return has_w4a8() and "asym_w4a8_int8" in comfy.quant_ops.QUANT_ALGOS


# names that core's loaders have for formats -> the release that brought each
SINCE = {"int8_tensorwise": (0, 27), "convrot_w4a4": (0, 30), "asym_w4a8_int8": (0, 31), "awq_w4a16": (0, 38)}


def release_that_reads(names: Iterable[str]) -> str:
    """The first release of ComfyUI whose loaders read all formats called `names`, "" if those of this one do."""
    import comfy.quant_ops

    missing = [SINCE[name] for name in names if name in SINCE and name not in comfy.quant_ops.QUANT_ALGOS]
    return "{}.{}".format(*max(missing)) if missing else ""


def takes_models_directory(comfyui: Path) -> bool:
    """Whether main.py of the ComfyUI in this folder has the option --models-directory."""
    return '"--models-directory"' in (comfyui / "comfy" / "cli_args.py").read_text(encoding="utf-8")
