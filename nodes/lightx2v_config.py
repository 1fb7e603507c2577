"""Load LightX2V Config: a run configuration and its model folder as MODELs, CLIP, CLIP_VISION and settings."""

from collections.abc import Iterator
from pathlib import Path, PurePath

import folder_paths
from comfy_api.latest import io, ui

from ..lightx2v_config import SearchPaths, find_models, offload_settings, read_config, report_lines, scheme_choice
from ..lightx2v_config.loading import load_models
from .annotated_files import inside
from .files import model_names
from .loaders import LOADERS
from .missing import MissingFileError, problem, same_name
from .offload import OffloadType
from .on_node import error_on_node, forgets_error, show
from .scheme import SchemeType

DIFFUSION_MODELS = "diffusion_models"
KINDS = (DIFFUSION_MODELS, "text_encoders", "clip_vision")
PASTED = "text below"
NO_FOLDER = "none: ComfyUI's folders"
INPUT = "input"
INDEX = ".index.json"


def model_folders() -> list[str]:
    """Folders below models/diffusion_models with a model in them or in their sub-folders, as "name/"."""
    found: dict[str, None] = {}
    for name in model_names(DIFFUSION_MODELS):
        path = PurePath(name)
        folders = [*path.parents][:-1] + ([path] if name.endswith("/") else [])
        found.update({f"{folder.as_posix()}/": None for folder in sorted(folders)})
    return list(found)


def folder_path(name: str) -> Path | None:
    """The full path of a name from `model_folders`; None for NO_FOLDER."""
    if name == NO_FOLDER:
        return None
    known = same_name(name, model_folders())
    if known is None:
        raise MissingFileError(
            f"The folder {name} is not in models/{DIFFUSION_MODELS}. Put it there as it was downloaded and press R."
        )
    return _existing(known)


def _existing(name: str) -> Path:
    """The full path of a known model folder, without calling `model_folders` again, which opens every model."""
    return next(folder for root in _roots(DIFFUSION_MODELS) if (folder := root / name).is_dir())


def config_files() -> dict[str, Path]:
    """Name in the node's list -> JSON file, from ComfyUI's input folder and the model folders."""
    return {name: path for name, path in _json_files() if not name.endswith(INDEX) and path.is_file()}


def _json_files() -> Iterator[tuple[str, Path]]:
    inputs = Path(folder_paths.get_input_directory())
    for path in sorted(inputs.glob("*.json")):
        if inside(inputs, path.name):
            yield f"{INPUT}/{path.name}", path
    for name in model_folders():
        for path in sorted(_existing(name).glob("*.json")):
            yield f"{name}{path.name}", path


def _roots(kind: str) -> list[Path]:
    return [Path(root) for root in folder_paths.get_folder_paths(kind)]


def search_paths(model_folder: str) -> SearchPaths:
    return SearchPaths(folder_path(model_folder), {kind: _roots(kind) for kind in KINDS})


def config_of(config: str, text: str):
    """The configuration for the node's values. Raises ConfigError or MissingFileError."""
    path = config_path(config)
    if path is None:
        return read_config(text, "The pasted configuration")
    return read_config(path.read_text(encoding="utf-8"), config)


def config_path(name: str) -> Path | None:
    """The file of a name from `config_files`; None for PASTED."""
    if name == PASTED:
        return None
    files = config_files()
    known = same_name(name, list(files))
    if known is None:
        raise MissingFileError(
            f"The configuration {name} is not here. Put the .json into ComfyUI's input folder, press R and pick it."
        )
    return files[known]


class LoadConfig(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VLoadConfig",
            display_name="Load LightX2V Config",
            category=LOADERS,
            description="Loads the models that a LightX2V config file (JSON) asks for. The report says which of its "
            "settings to put into which nodes.",
            search_aliases=["lightx2v", "json", "mm_config", "wan", "wan 2.2", "import config"],
            inputs=[
                io.Combo.Input(
                    "config",
                    display_name="config file",
                    options=[PASTED, *config_files()],
                    default=PASTED,
                    tooltip="A .json file in ComfyUI's input folder or in a model folder, or the text in the box "
                    "below.",
                ),
                io.Combo.Input(
                    "model_folder",
                    display_name="model folder",
                    options=[NO_FOLDER, *model_folders()],
                    default=NO_FOLDER,
                    tooltip="LightX2V's folder, as downloaded, in models/diffusion_models. Without it the config has "
                    "to name its files.",
                ),
                io.Boolean.Input(
                    "text_encoder",
                    display_name="load text encoder",
                    default=True,
                    tooltip="Off: the text encoder is not loaded, and the output clip stays empty.",
                ),
                io.Boolean.Input(
                    "vision_encoder",
                    display_name="load CLIP vision",
                    default=True,
                    tooltip="Off: CLIP vision is not loaded. Only Wan 2.1 with a start picture needs it.",
                ),
                io.String.Input(
                    "text",
                    display_name="config text",
                    default="",
                    multiline=True,
                    optional=True,
                    placeholder="optional: the JSON of a config",
                    tooltip="The JSON of a config, if no file is picked above.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="high_noise", tooltip="The high-noise expert of Wan 2.2, or the only model."
                ),
                io.Model.Output(
                    display_name="low_noise", tooltip="The low-noise expert of Wan 2.2, or the only model again."
                ),
                io.Clip.Output(display_name="clip"),
                io.ClipVision.Output(display_name="clip_vision"),
                SchemeType.Output(display_name="scheme"),
                OffloadType.Output(display_name="offload"),
                io.String.Output(display_name="report"),
            ],
        )

    @classmethod
    def validate_inputs(cls, config=None, model_folder=None):
        return problem((config_path, config), (folder_path, model_folder))

    @classmethod
    @forgets_error
    def fingerprint_inputs(cls, config, model_folder, text_encoder, vision_encoder, text=""):
        parsed = config_of(config, text)
        models = find_models(parsed, search_paths(model_folder), text_encoder, vision_encoder)
        files = [file for found in models.found.values() for file in found.checkpoint.files]
        return str(parsed.values) + "|".join(f"{f}:{f.stat().st_size}:{f.stat().st_mtime_ns}" for f in files)

    @classmethod
    @error_on_node
    def execute(cls, config, model_folder, text_encoder, vision_encoder, text=""):
        parsed = config_of(config, text)
        models = find_models(parsed, search_paths(model_folder), text_encoder, vision_encoder)
        scheme, notes = scheme_choice(parsed)
        offload = offload_settings(parsed)
        lines = report_lines(parsed, models, scheme, offload, notes)
        report = "\n".join(lines)
        loaded = load_models(models, scheme, offload, folder_paths.get_folder_paths("embeddings"))
        show(lines[0])
        return io.NodeOutput(*loaded, scheme, offload, report, ui=ui.PreviewText(report))
