"""Kernel Report: what this machine can run, why not the rest, and what each loaded model uses."""

from comfy_api.latest import io, ui

from ..advice.errors import AdviceError
from ..advice.footprint import of_model, of_name
from ..advice.models import MODELS
from ..advice.report import report as advice_report
from ..advice.text import first_line
from ..reports import machine
from ..schemes.verdict import verdict
from .on_node import show
from .scheme import CATEGORY

# a model of other loaders has no plan
FOREIGN = "not loaded by this pack, so this report says nothing about it."
# what advice is for where no model is connected
USUAL = "wan2.1-t2v-14b"
MORE = "All about this machine: connect report to Preview as Text."


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
            is_output_node=True,
        )

    @classmethod
    def execute(cls, model=None, clip=None, clip_vision=None):
        models = {
            "DiT": model.model if model is not None else None,
            "T5": clip.cond_stage_model if clip is not None else None,
            "CLIP": clip_vision.model if clip_vision is not None else None,
        }
        plans = {name: getattr(module, "x2v_plan", None) for name, module in models.items() if module is not None}
        found = machine.machine_report()
        lines = [f"{name}: {verdict(plan) if plan else FOREIGN}" for name, plan in plans.items()]
        shown = list(lines)  # on the node, which has room for a dozen lines
        for name, plan in plans.items():
            if plan:
                lines += ["", f"{name}:", *plan.lines()]
                shown += ["", *plan.lines(short=True)]
        lines += ["", machine.MACHINE] if lines else [machine.MACHINE]
        first, *more = machine.summary(found)
        advice = _advice(model)
        show("\n".join([*shown, "", f"{machine.MACHINE} {first}", *more, *advice, MORE]).lstrip())
        report = "\n".join([*lines, *machine.lines(found), "", *advice])
        return io.NodeOutput(report, ui=ui.PreviewText(report))


def _advice(model) -> list[str]:
    """What to take for this machine, of the model that is connected and has a plan, else of the usual one."""
    if model is None:
        return [_first_line(of_name(MODELS[USUAL], None))]
    if getattr(model.model, "x2v_plan", None) is None:
        return []
    try:
        return [_first_line(of_model(model.model, "This model"))]
    except AdviceError:  # of sound, for instance
        return []


def _first_line(footprint) -> str:
    return f"{footprint.title} at {footprint.size}: {first_line(advice_report(footprint))}"
