"""Kernel Report: what this machine can run, why not the rest, and what each loaded model uses."""

from comfy_api.latest import io, ui
from server import PromptServer

from ..reports import machine
from .scheme import CATEGORY


class KernelReport(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VKernelReport",
            display_name="Kernel Report",
            category=CATEGORY,
            description="Says what is fast on this computer (int8, fp8, int4), what to install, and how each model is "
            "computed.",
            search_aliases=["x2v", "kernel", "diagnose", "why slow", "gpu support"],
            inputs=[
                io.Model.Input("model", optional=True, tooltip="Optional. From Load Quantized DiT or Quantize Model."),
                io.Clip.Input("clip", optional=True, tooltip="Optional. From Load Quantized T5 or Quantize CLIP."),
                io.ClipVision.Input("clip_vision", optional=True, tooltip="Optional. From Load Quantized CLIP."),
            ],
            outputs=[io.String.Output(display_name="report")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, model=None, clip=None, clip_vision=None):
        models = {
            "DiT": model.model if model is not None else None,
            "T5": clip.cond_stage_model if clip is not None else None,
            "CLIP": clip_vision.model if clip_vision is not None else None,
        }
        # models first: the node shows only a dozen lines without scrolling
        lines = []
        for name, module in models.items():
            if module is not None:
                plan = getattr(module, "x2v_plan", None)
                lines += [
                    f"{name}:",
                    *(plan.lines() if plan else ["- not loaded by a quantized loader of this pack"]),
                    "",
                ]
        report = "\n".join([*lines, machine.MACHINE, *machine.lines(machine.machine_report())])
        PromptServer.instance.send_progress_text(report, cls.hidden.unique_id)
        return io.NodeOutput(report, ui=ui.PreviewText(report))
