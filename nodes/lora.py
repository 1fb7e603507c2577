"""Load LoRA: any key format on any weight format, merged or beside the weights, with a report."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..loras import AUTO, EXPERT_CHOICES, MODES, apply_lora, read_lora
from .missing import missing, problem, same_name
from .on_node import error_on_node, forgets_error
from .scheme import CATEGORY

KIND = "loras"


class LoadLoRA(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VLoadLoRA",
            display_name="Load LoRA (any format)",
            category=f"{CATEGORY}/loaders",
            description="Adds a LoRA to a diffusion model, quantized or not, whatever program made the LoRA. For "
            "several, connect one node after another.",
            search_aliases=["x2v", "lightx2v", "lora", "lora loader", "distill lora", "bypass lora", "lycoris"],
            inputs=[
                io.Model.Input("model", tooltip="From any loader, quantized or not. It is not changed."),
                io.Combo.Input(
                    "lora_name",
                    display_name="LoRA file",
                    options=folder_paths.get_filename_list(KIND),
                    tooltip="A file in models/loras, made for LightX2V, diffusers, peft, kohya or ComfyUI.",
                ),
                io.Float.Input(
                    "strength",
                    display_name="strength",
                    default=1.0,
                    min=-100.0,
                    max=100.0,
                    step=0.01,
                    tooltip="1 = as the LoRA was made, 0 = no effect, negative = the opposite effect.",
                ),
                io.Combo.Input(
                    "mode",
                    display_name="mode",
                    options=list(MODES),
                    default=AUTO,
                    tooltip="auto: bypass on weights of 4 bits, else merge. merge: faster. bypass: exact, each step a "
                    "little slower.",
                ),
                io.Combo.Input(
                    "expert",
                    display_name="Wan 2.2 expert",
                    options=list(EXPERT_CHOICES),
                    default=AUTO,
                    optional=True,
                    advanced=True,
                    tooltip="Leave on auto. Only for a file with LoRAs for both experts of Wan 2.2: which one is used.",
                ),
            ],
            outputs=[io.Model.Output(), io.String.Output(display_name="report")],
        )

    @classmethod
    def validate_inputs(cls, lora_name=None):
        return problem((_path, lora_name))

    @classmethod
    @forgets_error
    def fingerprint_inputs(cls, lora_name, **_):
        stat = _path(lora_name).stat()
        return f"{lora_name}:{stat.st_size}:{stat.st_mtime_ns}"

    @classmethod
    @error_on_node
    def execute(cls, model, lora_name, strength=1.0, mode=AUTO, expert=AUTO):
        path = _path(lora_name)
        return io.NodeOutput(*apply_lora(model, read_lora(path), path.name, strength, mode, expert))


def _path(name: str) -> Path:
    known = same_name(name, folder_paths.get_filename_list(KIND))
    if known is None:
        raise missing(name, KIND)
    return Path(folder_paths.get_full_path_or_raise(KIND, known))
