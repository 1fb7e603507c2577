"""Memory Report: where the bytes of the models are, and the peaks of the run."""

from dataclasses import asdict

import numpy
import torch
from comfy_api.latest import io, ui
from comfy_execution.utils import get_executing_context

from ..runtime.memory import PeakCounter, chart, describe, measure, verdict
from .on_node import show
from .scheme import CATEGORY

MOST_MODELS = 16
MORE = "All figures: connect report to Preview as Text."
_peaks = PeakCounter()


class MemoryReport(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        models = io.Autogrow.TemplatePrefix(
            io.Model.Input("model", optional=True, tooltip="Optional. From any loader."),
            prefix="model",
            min=0,
            max=MOST_MODELS,
        )
        anything = io.MatchType.Template("after")
        return io.Schema(
            node_id="X2VMemoryReport",
            display_name="Memory Report",
            category=CATEGORY,
            description="Says whether the run fits into VRAM and RAM, and where the weights of each model are.",
            search_aliases=["x2v", "vram", "ram", "memory usage", "offload", "peak", "out of memory"],
            inputs=[
                io.Autogrow.Input(
                    "models",
                    template=models,
                    tooltip="Optional. From any loader. Connect one and an input for the next appears.",
                ),
                io.Clip.Input("clip", optional=True, tooltip="Optional. From any loader."),
                io.ClipVision.Input("clip_vision", optional=True, tooltip="Optional. From any loader."),
                io.Vae.Input("vae", optional=True, tooltip="Optional. From any loader."),
                io.MatchType.Input(
                    "after",
                    template=anything,
                    optional=True,
                    tooltip="Optional. The sampler's latent or the decoder's images: the report waits for it.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="report"),
                io.Image.Output(display_name="chart"),
                io.MatchType.Output(
                    template=anything,
                    display_name="after",
                    tooltip="The same as the input. What is connected here runs again in every run.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        """Resets the peaks: core calls this before it runs the first node of a prompt."""
        _peaks.begin(get_executing_context().prompt_id)
        return float("nan")

    @classmethod
    def execute(cls, models=None, clip=None, clip_vision=None, vae=None, after=None):
        found = {f"MODEL {number}": model for number, model in enumerate((models or {}).values(), 1)}
        found |= {"CLIP": clip, "CLIP_VISION": clip_vision, "VAE": vae}
        patchers = {
            f"{name}, {_title(patcher)}": patcher
            for name, model in found.items()
            if model is not None
            for patcher in [getattr(model, "patcher", model)]
        }
        report = measure(patchers, _peaks.read(get_executing_context().prompt_id))
        text = describe(report)
        picture = torch.from_numpy(numpy.array(chart(report))).float()[None] / 255
        # the chart has the rest
        show("\n\n".join(filter(None, (*verdict(report), MORE))))
        shown = {**ui.PreviewImage(picture).as_dict(), "text": (text,), "memory": (asdict(report),)}
        return io.NodeOutput(text, picture, after, ui=shown)


def _title(patcher) -> str:
    """The file name of a model of ours, else ComfyUI's name of the model."""
    plan = getattr(patcher.model, "x2v_plan", None)
    return plan.title if plan else type(patcher.model).__name__
