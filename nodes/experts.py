"""Load Wan 2.2 Experts: the two experts as MODELs that make room for each other."""

from pathlib import PurePath

from comfy_api.latest import io

from ..checkpoints.expert_names import HIGH, LOW, SUBFOLDERS, counterpart
from ..loading.about import about_both
from ..loading.experts import load_experts
from ..runtime.offload.apply import offloaded
from ..schemes import AUTO
from .files import fingerprint, model_names, model_path
from .loaders import LOADERS, SCHEME_TOOLTIP
from .missing import MissingFileError, missing, problem, same_name
from .offload import offload_input
from .on_node import error_on_node, forgets_error, show
from .scheme import SchemeType

KIND = "diffusion_models"


def pair_folders() -> list[str]:
    """Folders with the sub-folders of both experts, as "name/"."""
    parents: dict[str, set[str]] = {}
    for name in model_names(KIND):
        parts = PurePath(name).parts
        for depth, part in enumerate(parts):
            if part in SUBFOLDERS.values():
                parents.setdefault("/".join(parts[:depth]) or ".", set()).add(part)
    return [f"{folder}/" for folder, found in parents.items() if len(found) == len(SUBFOLDERS)]


def expert_names(high_noise: str, low_noise: str) -> tuple[str, str]:
    """(high, low): names from `model_names` for the node's values. Raises MissingFileError."""
    if high_noise in pair_folders():
        return _in_folder(high_noise, HIGH), _in_folder(high_noise, LOW) if low_noise == AUTO else low_noise
    if low_noise != AUTO:
        return high_noise, low_noise
    names = model_names(KIND)
    if same_name(high_noise, names) is None:
        raise missing(high_noise, KIND)
    other = counterpart(high_noise)
    if other is None:
        raise MissingFileError(
            f"The name of {high_noise} does not say which file is its low-noise expert. Pick that one as low-noise "
            "file."
        )
    if same_name(other, names) is None:
        raise MissingFileError(
            f"The low-noise expert of {high_noise} is missing: {other} is not in models/{KIND}. Download it there and "
            "press R, or pick another low-noise file."
        )
    return high_noise, other


def expert_paths(high_noise: str, low_noise: str) -> list[str]:
    """The full paths of both. Raises MissingFileError."""
    return [model_path(KIND, name) for name in expert_names(high_noise, low_noise)]


def _in_folder(folder: str, expert: str) -> str:
    """The one model in an expert's sub-folder."""
    place = PurePath(folder, SUBFOLDERS[expert])
    found = [name for name in model_names(KIND) if PurePath(name) == place or PurePath(name).parent == place]
    if len(found) != 1:
        several = ", ".join(PurePath(name).name for name in found)
        raise MissingFileError(
            f"{place.as_posix()}/ has {len(found)} models ({several}), but should have one. Pick two files instead."
        )
    return found[0]


class LoadExperts(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        names = model_names(KIND)
        return io.Schema(
            node_id="X2VLoadExperts",
            display_name="Load Wan 2.2 Experts",
            category=LOADERS,
            description="Loads the two models of Wan 2.2 14B, high noise and low noise, for two samplers. When VRAM is "
            "short, the one that waits makes room first.",
            search_aliases=[
                "lightx2v",
                "wan 2.2",
                "a14b",
                "moe",
                "high noise",
                "low noise",
                "int8",
                "fp8",
                "quantized",
            ],
            inputs=[
                io.Combo.Input(
                    "high_noise",
                    display_name="high-noise file",
                    options=[*pair_folders(), *names],
                    tooltip="The high-noise model in models/diffusion_models, or a folder (name ends in /) that has "
                    "both models.",
                ),
                io.Combo.Input(
                    "low_noise",
                    display_name="low-noise file",
                    options=[AUTO, *names],
                    default=AUTO,
                    tooltip="auto: the file whose name has low where the other has high, or the second model of the "
                    "folder.",
                ),
                SchemeType.Input("scheme", optional=True, tooltip=SCHEME_TOOLTIP),
                offload_input(),
            ],
            outputs=[io.Model.Output(display_name="high_noise"), io.Model.Output(display_name="low_noise")],
        )

    @classmethod
    def validate_inputs(cls, high_noise=None, low_noise=None):
        return problem((expert_paths, high_noise, low_noise))

    @classmethod
    @forgets_error
    def fingerprint_inputs(cls, high_noise, low_noise, scheme=None, offload=None):
        return "|".join(fingerprint(KIND, name) for name in expert_names(high_noise, low_noise))

    @classmethod
    @error_on_node
    def execute(cls, high_noise, low_noise, scheme=None, offload=None):
        high, low = expert_paths(high_noise, low_noise)
        models = load_experts(high, low, scheme)
        show(about_both(models[0].model.x2v_plan.about))
        if offload is not None:
            models = [offloaded(model, offload) for model in models]
        return io.NodeOutput(*models)
