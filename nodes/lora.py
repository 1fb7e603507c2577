"""Load LoRA: any key format on any weight format, merged or beside the weights, with a report."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..loras import AUTO, EXPERT_CHOICES, MODES, apply_lora, read_lora
from .missing import missing, problem, same_name
from .scheme import CATEGORY

KIND = "loras"


class LoadLoRA(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VLoadLoRA",
            display_name="Load LoRA (any format)",
            category=f"{CATEGORY}/loaders",
            description="A LoRA on a diffusion model, quantized or not, with the key names of LightX2V, diffusers, "
            "peft or ComfyUI. Put several in a row to stack them.",
            search_aliases=["x2v", "lightx2v", "lora", "lora loader", "distill lora", "bypass lora", "lycoris"],
            inputs=[
                io.Model.Input("model", tooltip="From any loader, quantized or not. It stays as it is."),
                io.Combo.Input("lora_name", options=folder_paths.get_filename_list(KIND), tooltip="From models/loras."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-100.0,
                    max=100.0,
                    step=0.01,
                    tooltip="1 is what the LoRA was made for, 0 has no effect, negative turns it round.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=AUTO,
                    tooltip="'merge' adds to the weights and quantizes them anew; 'bypass' leaves quantized weights as "
                    "they are, at a little time per step; 'auto' bypasses weights of 4 bits and merges the others.",
                ),
                io.Combo.Input(
                    "expert",
                    options=list(EXPERT_CHOICES),
                    default=AUTO,
                    optional=True,
                    advanced=True,
                    tooltip="Whose part of a LoRA for both experts of Wan 2.2 is used; 'auto': the model's own.",
                ),
            ],
            outputs=[io.Model.Output(), io.String.Output(display_name="report")],
        )

    @classmethod
    def validate_inputs(cls, lora_name=None):
        return problem((_path, lora_name))

    @classmethod
    def fingerprint_inputs(cls, lora_name, **_):
        stat = _path(lora_name).stat()
        return f"{lora_name}:{stat.st_size}:{stat.st_mtime_ns}"

    @classmethod
    def execute(cls, model, lora_name, strength=1.0, mode=AUTO, expert=AUTO):
        path = _path(lora_name)
        return io.NodeOutput(*apply_lora(model, read_lora(path), path.name, strength, mode, expert))


def _path(name: str) -> Path:
    known = same_name(name, folder_paths.get_filename_list(KIND))
    if known is None:
        raise missing(name, KIND)
    return Path(folder_paths.get_full_path_or_raise(KIND, known))
