"""Offload Control: where weights are while they are not computed with."""

from comfy_api.latest import io

from ..runtime.offload import AUTO, ENCODER_MODES, MODES, OffloadSettings
from ..runtime.offload.apply import offloaded
from .scheme import CATEGORY

OffloadType = io.Custom("X2V_OFFLOAD")
# the widget's value for no limit
NO_BUDGET = 0.0


def offload_input():
    """The loaders' input for the settings."""
    return OffloadType.Input(
        "offload", optional=True, tooltip="Optional, from Offload Control. Not connected: ComfyUI decides."
    )


class OffloadControl(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VOffloadControl",
            display_name="Offload Control",
            category=CATEGORY,
            description="Where weights wait: for the loaders of this pack, or for any MODEL that goes through it.",
            search_aliases=["block swap", "low vram", "offload", "cpu_offload", "lazy_load", "vram budget", "lightx2v"],
            inputs=[
                io.Model.Input(
                    "model", optional=True, tooltip="Of any loader. What comes out is offloaded as said here."
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=AUTO,
                    tooltip="\n".join(f"{name}: {words}" for name, words in MODES.items()),
                ),
                io.Float.Input(
                    "vram_budget_gb",
                    default=NO_BUDGET,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="Most GB of VRAM for the weights of the diffusion model. 0: as much as there is.",
                ),
                io.Int.Input(
                    "prefetch", default=1, min=0, max=8, tooltip="Blocks or phases that are fetched before their turn."
                ),
                io.Boolean.Input(
                    "pinned_memory",
                    default=True,
                    tooltip="Page-lock the RAM that waits for the GPU: faster, but other programs cannot have it.",
                ),
                io.Combo.Input(
                    "t5", options=list(ENCODER_MODES), default=AUTO, tooltip="Mode of the text encoder (loaders only)."
                ),
                io.Combo.Input(
                    "clip", options=list(ENCODER_MODES), default=AUTO, tooltip="Mode of CLIP vision (loaders only)."
                ),
            ],
            outputs=[OffloadType.Output(display_name="offload"), io.Model.Output(display_name="model")],
        )

    @classmethod
    def execute(cls, mode, vram_budget_gb, prefetch, pinned_memory, t5, clip, model=None):
        budget = None if vram_budget_gb == NO_BUDGET else vram_budget_gb
        settings = OffloadSettings(mode, budget, prefetch, pinned_memory, t5, clip)
        return io.NodeOutput(settings, None if model is None else offloaded(model, settings))
