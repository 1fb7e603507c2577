"""Save Quantized Model and Save Quantized CLIP: write files for LightX2V, ComfyUI or this pack."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import comfy.utils
from comfy_api.latest import io, ui

from ..checkpoints.encodings import COMFYUI, DIALECTS, X2V
from ..common.sizes import amount
from ..converting import packages
from ..core.features import release_that_reads
from ..quantizing.left_out import left_out, left_out_of_clip
from ..quantizing.saving import Progress, save_clip, save_model
from ..quantizing.stored_format import markers
from .on_node import error_on_node, show
from .output_files import below_output, numbered
from .scheme import CATEGORY

log = logging.getLogger("x2v-quant")

ALIASES = ["x2v", "lightx2v", "export", "convert", "int8", "fp8"]
READERS = (
    "x2v: this pack. comfyui: ComfyUI; quantize to int8-channel for it. lightx2v: LightX2V. This pack loads all three."
)
SAFETENSORS = ".safetensors"
NEXT = "Move it to models/{} and press R."


def _where_inputs(prefix: str):
    return [
        io.String.Input(
            "filename_prefix",
            display_name="file name",
            default=prefix,
            tooltip="In ComfyUI's output folder; a number is added. Move the file to models, then press R.",
        ),
        io.Combo.Input("dialect", display_name="load with", options=list(DIALECTS), default=X2V, tooltip=READERS),
    ]


def _saved(
    folder: str,
    filename_prefix: str,
    ending: str,
    dialect: str,
    save: Callable[[Path, Progress], int],
    left_out: Sequence[str],
    patcher,
):
    """Call save(target, progress) with core's numbering and return what the node shows. folder: of ComfyUI's models,
    for such files. left_out: settings on the model that the file does not contain. patcher: of what is saved."""
    target = numbered(filename_prefix, ending)
    bar = comfy.utils.ProgressBar(1)
    written = save(target, lambda done, total: bar.update_absolute(done, total))
    done = f"{amount(written)} saved: output/{below_output(target)}\n{NEXT.format(folder)}"
    text = f"{done}{_not_read_here(dialect, patcher)}{_left_out(left_out)}"
    show(text)
    return io.NodeOutput(ui=ui.PreviewText(text))


def _left_out(names: Sequence[str]) -> str:
    if not names:
        return ""
    note = f"Not in the file, set it again after loading: {', '.join(names)}."
    log.warning(note)
    return f"\n{note}"


def _not_read_here(dialect: str, patcher) -> str:
    """A note on layers in ComfyUI's dialect that the ComfyUI running here cannot read."""
    release = release_that_reads(markers(patcher.model)) if dialect == COMFYUI else ""
    if not release:
        return ""
    return f"\nThis ComfyUI's own loaders cannot read this file; those of {release} and newer do, and this pack's."


class SaveQuantizedModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VSaveModel",
            display_name="Save Quantized Model",
            category=CATEGORY,
            description="Saves a diffusion model with its LoRAs as a file in the output folder, to load it next time.",
            search_aliases=[*ALIASES, "save model"],
            inputs=[
                io.Model.Input(
                    "model", tooltip="From Quantize Model or any loader. LoRAs before it are saved in the weights."
                ),
                *_where_inputs("diffusion_models/x2v"),
                io.Combo.Input(
                    "package",
                    display_name="save as",
                    options=list(packages.PACKAGES),
                    default=packages.FILE,
                    tooltip="file: one file, right for most; shards: pieces of 5 GB; blocks: one file per block.",
                ),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    @error_on_node
    def execute(cls, model, filename_prefix, dialect, package):
        ending = SAFETENSORS if package == packages.FILE else ""

        def save(target, progress):
            return save_model(model, target, dialect, package, progress)

        return _saved("diffusion_models", filename_prefix, ending, dialect, save, left_out(model), model)


class SaveQuantizedCLIP(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VSaveCLIP",
            display_name="Save Quantized CLIP (Text Encoder)",
            category=CATEGORY,
            description="Saves a text encoder with its LoRAs as a file in the output folder, to load it next time.",
            search_aliases=[*ALIASES, "save clip", "text encoder", "t5", "umt5"],
            inputs=[
                io.Clip.Input(
                    "clip", tooltip="From Quantize CLIP or any loader. LoRAs before it are saved in the weights."
                ),
                *_where_inputs("text_encoders/x2v"),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    @error_on_node
    def execute(cls, clip, filename_prefix, dialect):
        def save(target, progress):
            return save_clip(clip, target, dialect, progress)

        return _saved(
            "text_encoders", filename_prefix, SAFETENSORS, dialect, save, left_out_of_clip(clip), clip.patcher
        )
