"""Quantized Sampler Patch and Step Report: options for the sampling of quantized models."""

from comfy_api.latest import io

from ..runtime.compiling import compilations_of, compiled
from ..runtime.sampling import PrecisionSchedule, StepReport, patched
from ..runtime.sampling.schedule import parse_layers
from ..runtime.sharing import shared_activations as sharing
from .on_node import error_on_node, show
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
            description="Options for the samplers after it: some steps or layers more exact, a stop at NaN (black "
            "video), a report of every step. All off: no effect.",
            search_aliases=ALIASES,
            inputs=[
                io.Model.Input(
                    "model", tooltip="From Load Quantized DiT, Quantize Model, or a LoRA loader after them."
                ),
                io.Int.Input(
                    "high_first_steps",
                    display_name="first steps in high precision",
                    default=0,
                    min=0,
                    max=MOST_STEPS,
                    tooltip="First N steps more exact, but slower. 0 = off; typical: 1 or 2.",
                ),
                io.Int.Input(
                    "high_last_steps",
                    display_name="last steps in high precision",
                    default=0,
                    min=0,
                    max=MOST_STEPS,
                    tooltip="Last N steps more exact, but slower. 0 = off; typical: 1 or 2.",
                ),
                io.Float.Input(
                    "high_start_percent",
                    display_name="high precision from",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="More exact in a part of the noise schedule: 0 = start, 1 = end. Both values 0 = off.",
                ),
                io.Float.Input(
                    "high_end_percent",
                    display_name="high precision to",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="End of that part, e.g. from 0 to 0.2. 0 = off; it must be above the value before.",
                ),
                io.String.Input(
                    "high_precision_layers",
                    display_name="layers in high precision (optional)",
                    default="",
                    multiline=True,
                    placeholder="layers in high precision (optional), e.g. ffn.2",
                    tooltip="Optional. Layers that are more exact in every step, one per line, e.g. blocks.0 or ffn.2",
                ),
                io.Boolean.Input(
                    "nan_guard",
                    display_name="stop at NaN (black video)",
                    default=True,
                    tooltip="Stops at the first broken step and says which layer broke and what to try. Leave on.",
                ),
                io.Boolean.Input(
                    "step_report",
                    display_name="step report",
                    default=True,
                    tooltip="Shows the seconds of every step here while sampling. Step Report needs it. Leave on.",
                ),
                io.Boolean.Input(
                    "shared_activations",
                    display_name="share work of q, k, v",
                    default=False,
                    tooltip="Same video, less work: layers with the same input (q, k, v) convert it once.",
                ),
                io.Boolean.Input(
                    "compile_blocks",
                    display_name="torch.compile",
                    default=False,
                    tooltip="First step much slower, later steps should be faster. A GPU needs Triton for it.",
                ),
            ],
            outputs=[
                io.Model.Output(tooltip="For the sampler."),
                StepsType.Output(display_name="steps", tooltip="For Step Report."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @error_on_node
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
        report = StepReport(lambda text: show(text, node))
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
            description="After sampling: the seconds of every step, how much was computed in int8 or fp8, the kernels.",
            search_aliases=[*ALIASES, "benchmark", "speed", "tokens per second"],
            inputs=[
                StepsType.Input("steps", tooltip="From Quantized Sampler Patch, with step report on."),
                io.MatchType.Input(
                    "after",
                    template=anything,
                    tooltip="The sampler's latent, or what is made of it. The report waits for it and passes it on.",
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
    @error_on_node
    def execute(cls, steps, after):
        text = steps.text()
        show(steps.on_node())
        return io.NodeOutput(
            text, after, ui={"text": (text,), "notes": tuple(steps.remarks()), "samplers": tuple(steps.as_dicts())}
        )
