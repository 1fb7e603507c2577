"""x2v-quant: LightX2V's quantized checkpoints as ordinary ComfyUI models."""

from .common.version import VERSION

__version__ = VERSION

WEB_DIRECTORY = "./web"

MINIMUM_COMFYUI = (0, 24)


async def comfy_entrypoint():
    """Called by ComfyUI. Raises RuntimeError with the remedy on a ComfyUI that is too old."""
    from comfyui_version import __version__ as comfyui

    if tuple(int(part) for part in comfyui.split(".")[:2]) < MINIMUM_COMFYUI:
        oldest = ".".join(map(str, MINIMUM_COMFYUI))
        raise RuntimeError(f"x2v-quant needs ComfyUI {oldest} or newer, this is {comfyui}. Update ComfyUI.")
    from .nodes import X2VExtension

    return X2VExtension()
