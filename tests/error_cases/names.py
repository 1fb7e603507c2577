"""Names that a link gave an input and that are in no list."""

from .case import ErrorCase, linked, loaded
from .configurations import config

GONE = "gone.safetensors"


CASES = {
    "model": ErrorCase(
        "X2VLoadDiT",
        lambda place: linked(loaded("X2VLoadDiT", GONE), "load", "model_name", GONE),
        (f"There is no model {GONE!r} in ComfyUI's diffusion_models folder. Refresh the node and pick one.",),
    ),
    "model, unlinked": ErrorCase(
        "X2VLoadDiT", lambda place: loaded("X2VLoadDiT", GONE), ("Value not in list", GONE), early=True
    ),
    "configuration": ErrorCase(
        "X2VLoadConfig",
        lambda place: linked(config(), "load", "config", "gone.json"),
        ("There is no configuration 'gone.json'. Refresh the node and pick one.",),
    ),
    "model folder": ErrorCase(
        "X2VLoadConfig",
        lambda place: linked(config(text="{}"), "load", "model_folder", "gone/"),
        ("There is no folder 'gone/' in ComfyUI's diffusion_models folder. Refresh the node.",),
    ),
}
