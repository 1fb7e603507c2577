"""Save Quantized Model: a MODEL to a file that LightX2V, ComfyUI or this pack reads."""

from pathlib import Path

import comfy.utils
import folder_paths
from comfy_api.latest import io, ui

from ..converting import packages
from ..converting.outputs import DIALECTS, X2V
from ..quantizing.saving import save_model
from .scheme import CATEGORY

PREFIX = "diffusion_models/x2v"


class SaveQuantizedModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VSaveModel",
            display_name="Save Quantized Model",
            category=CATEGORY,
            description="Writes a diffusion model, with its LoRAs, to the output folder, layer by layer.",
            search_aliases=["x2v", "lightx2v", "save model", "export", "convert", "int8", "fp8"],
            inputs=[
                io.Model.Input("model"),
                io.String.Input(
                    "filename_prefix", default=PREFIX, tooltip="In ComfyUI's output folder; a number is added."
                ),
                io.Combo.Input(
                    "dialect",
                    options=list(DIALECTS),
                    default=X2V,
                    tooltip="'x2v' has every format and smoothing and is for this pack's loaders, 'comfyui' is for "
                    "ComfyUI's own, 'lightx2v' for LightX2V; this pack reads all three.",
                ),
                io.Combo.Input(
                    "package",
                    options=list(packages.PACKAGES),
                    default=packages.FILE,
                    tooltip="One file, a folder of shards of 5 GB, or a folder with a file per block.",
                ),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, model, filename_prefix, dialect, package):
        folder, name, counter, _, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory()
        )
        ending = ".safetensors" if package == packages.FILE else ""
        target = Path(folder) / f"{name}_{counter:05}_{ending}"
        bar = comfy.utils.ProgressBar(1)
        written = save_model(model, target, dialect, package, lambda done, total: bar.update_absolute(done, total))
        return io.NodeOutput(ui=ui.PreviewText(f"{target} ({written / 1e9:.2f} GB)"))
