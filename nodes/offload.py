"""Offload Control: where weights are while they are not computed with."""

from comfy_api.latest import io

from ..runtime.offload import AUTO, ENCODER_MODES, MODES, OffloadSettings
from ..runtime.offload.apply import offloaded
from .on_node import error_on_node
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
            description="For models that do not fit into VRAM or RAM: where their weights wait until they are needed. "
            "For the loaders of this pack, or for any MODEL that goes through it.",
            search_aliases=["block swap", "low vram", "offload", "cpu_offload", "lazy_load", "vram budget", "lightx2v"],
            inputs=[
                io.Model.Input(
                    "model", optional=True, tooltip="Optional: a MODEL of any loader. It comes out with these settings."
                ),
                io.Combo.Input(
                    "mode",
                    display_name="offload mode",
                    options=list(MODES),
                    default=AUTO,
                    tooltip="Leave on auto; to save VRAM use the budget. disk: little RAM. block, phase: old AMD, WSL. "
                    "model: out of VRAM afterwards.",
                ),
                io.Float.Input(
                    "vram_budget_gb",
                    display_name="VRAM budget (GB)",
                    default=NO_BUDGET,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="GB of VRAM for the weights of the diffusion model. 0 = no limit. Example: 4 on a card "
                    "with 8 GB.",
                ),
                io.Int.Input(
                    "prefetch",
                    display_name="prefetch",
                    default=1,
                    min=0,
                    max=8,
                    tooltip="Leave on 1: blocks that are fetched before their turn. 0 = none: least VRAM, slower.",
                ),
                io.Boolean.Input(
                    "pinned_memory",
                    display_name="pinned RAM",
                    default=True,
                    tooltip="On: faster, but other programs cannot use this RAM. Off: frees RAM, slower.",
                ),
                io.Combo.Input(
                    "t5",
                    display_name="text encoder mode",
                    options=list(ENCODER_MODES),
                    default=AUTO,
                    tooltip="Leave on auto. model: leaves VRAM before sampling. disk: little RAM. Only with the "
                    "offload output.",
                ),
                io.Combo.Input(
                    "clip",
                    display_name="CLIP vision mode",
                    options=list(ENCODER_MODES),
                    default=AUTO,
                    tooltip="The same for CLIP vision. Leave on auto. Only with the offload output.",
                ),
            ],
            outputs=[OffloadType.Output(display_name="offload"), io.Model.Output(display_name="model")],
        )

    @classmethod
    @error_on_node
    def execute(cls, mode, vram_budget_gb, prefetch, pinned_memory, t5, clip, model=None):
        budget = None if vram_budget_gb == NO_BUDGET else vram_budget_gb
        settings = OffloadSettings(mode, budget, prefetch, pinned_memory, t5, clip)
        return io.NodeOutput(settings, None if model is None else offloaded(model, settings))
