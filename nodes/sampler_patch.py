"""Quantized Sampler Patch and Step Report: options for the sampling of quantized models."""

from comfy_api.latest import io
from server import PromptServer

from ..runtime.compiling import compilations_of, compiled
from ..runtime.sampling import PrecisionSchedule, StepReport, patched
from ..runtime.sampling.schedule import parse_layers
from ..runtime.sharing import shared_activations as sharing
from .scheme import CATEGORY

StepsType = io.Custom("X2V_STEPS")
MOST_STEPS = 10_000
ALIASES = ["x2v", "lightx2v", "precision schedule", "nan", "black video", "step time", "mixed precision"]


class SamplerPatch(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VSamplerPatch",
            display_name="Quantized Sampler Patch",
            category=CATEGORY,
            description="Switches on, for the samplers behind it: high precision for some steps or layers, a guard "
            "against NaN, a report of every step. With everything off the MODEL goes through as it is.",
            search_aliases=ALIASES,
            inputs=[
                io.Model.Input("model", tooltip="From Load Quantized DiT, Quantize Model or behind them."),
                io.Int.Input(
                    "high_first_steps",
                    default=0,
                    min=0,
                    max=MOST_STEPS,
                    tooltip="So many steps at the beginning of each sampler run in high precision: weights are "
                    "dequantized, activations not quantized.",
                ),
                io.Int.Input(
                    "high_last_steps", default=0, min=0, max=MOST_STEPS, tooltip="The same at the end of each sampler."
                ),
                io.Float.Input(
                    "high_start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="Steps whose noise level lies between start and end are in high precision too: 0 is all "
                    "noise, 1 is none. No steps where end is not above start.",
                ),
                io.Float.Input(
                    "high_end_percent", default=0.0, min=0.0, max=1.0, step=0.001, tooltip="See high_start_percent."
                ),
                io.String.Input(
                    "high_precision_layers",
                    default="",
                    multiline=True,
                    tooltip="Layers that are in high precision in every step, one pattern per line: blocks.0, ffn.2, "
                    "blocks.*.cross_attn.k",
                ),
                io.Boolean.Input(
                    "nan_guard",
                    default=True,
                    tooltip="Stops at the first step whose output is not finite, and says which layer began it and "
                    "what to try.",
                ),
                io.Boolean.Input(
                    "step_report",
                    default=True,
                    tooltip="Shows time, precision and kernels of every step here while a sampler runs, and in Step "
                    "Report.",
                ),
                io.Boolean.Input(
                    "shared_activations",
                    default=False,
                    tooltip="Layers with a common input (q, k and v) quantize it once, where that is proved to be "
                    "safe. The same latents, bit for bit.",
                ),
                io.Boolean.Input(
                    "compile_blocks",
                    default=False,
                    tooltip="torch.compile for each block of the model. The first step takes longer, and layers do not "
                    "share their inputs.",
                ),
            ],
            outputs=[
                io.Model.Output(tooltip="For the sampler."),
                StepsType.Output(display_name="steps", tooltip="For Step Report."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model,
        high_first_steps,
        high_last_steps,
        high_start_percent,
        high_end_percent,
        high_precision_layers,
        nan_guard,
        step_report,
        shared_activations,
        compile_blocks,
    ):
        schedule = PrecisionSchedule(
            high_first_steps,
            high_last_steps,
            high_start_percent,
            high_end_percent,
            parse_layers(high_precision_layers),
        )
        node = cls.hidden.unique_id
        report = StepReport(lambda text: PromptServer.instance.send_progress_text(text, node))
        clone = patched(model, schedule, nan_guard, report if step_report else None)
        if shared_activations:
            clone, notes = sharing(clone)
            report.notes += notes
        if compile_blocks:
            clone, notes = compiled(clone)
            report.notes += notes
            done = compilations_of(clone)
            report.counted += [done.text] if done else []
        if shared_activations or compile_blocks:
            report.show("\n".join(report.remarks()))
        return io.NodeOutput(clone, report)


class StepReportNode(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        anything = io.MatchType.Template("after")
        return io.Schema(
            node_id="X2VStepReport",
            display_name="Step Report",
            category=CATEGORY,
            description="What Quantized Sampler Patch has seen of the samplers that ran with its MODEL: seconds, share "
            "of quantized multiplications and tokens per second of every step, and the kernels.",
            search_aliases=[*ALIASES, "benchmark", "speed", "tokens per second"],
            inputs=[
                StepsType.Input("steps", tooltip="From Quantized Sampler Patch."),
                io.MatchType.Input(
                    "after",
                    template=anything,
                    tooltip="Reports once this is there: the sampler's latent, or what is made of it. It is passed on.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="report"),
                io.MatchType.Output(template=anything, display_name="after", tooltip="What came in."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, steps, after):
        text = steps.text()
        PromptServer.instance.send_progress_text(text, cls.hidden.unique_id)
        return io.NodeOutput(
            text, after, ui={"text": (text,), "notes": tuple(steps.remarks()), "samplers": tuple(steps.as_dicts())}
        )
