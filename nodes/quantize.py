"""Quantize Model and Quantize CLIP: quantize the linear layers of a model from any loader."""

from collections import Counter

from comfy_api.latest import io

from ..calibration import DEFAULT_ALPHA
from ..formats import family
from ..layer_rules import RuleError, parse_overrides
from ..layer_rules.format_names import CHOICES
from ..quantizing import (
    ROTATIONS,
    Rounder,
    Smoother,
    quantize_clip,
    quantize_model,
    select_in_clip,
    select_in_model,
)
from ..quantizing.sharing import SHARED, shared_smoother
from ..rounding import METHODS
from ..rounding.gains import gains
from ..schemes import AUTO, SchemeChoice
from .calibrate import CalibrationType
from .layer_progress import LayerProgress
from .on_node import error_on_node, show
from .scheme import CATEGORY, SchemeType

ALIASES = [
    *("x2v", "lightx2v", "quantize", "int8", "fp8", "int4", "w4a8", "nvfp4", "mxfp8", "awq", "gptq", "convrot"),
    *("convert model", "save vram"),
]
SEARCH, ALPHA = "search", "alpha"
NEAREST, MSE, GPTQ = "nearest", "mse", "gptq"


def _inputs():
    return [
        io.Combo.Input(
            "format",
            options=[AUTO, *CHOICES],
            default=AUTO,
            tooltip="auto: fp8 on RTX 40 and 50, else int8. Right for almost everybody. int8 was more exact in our "
            "test.",
        ),
        io.String.Input(
            "layers",
            display_name="layers (optional)",
            multiline=True,
            default="",
            optional=True,
            placeholder="layers (optional), e.g. ffn.2 = keep",
            tooltip="Optional. One exception per line, e.g. ffn.2 = keep (not quantized) or blocks.0 = int8-channel.",
        ),
        SchemeType.Input(
            "scheme", optional=True, tooltip="Optional. From Quantization Scheme. Not connected: automatic."
        ),
    ]


def _smoothing_inputs():
    return [
        CalibrationType.Input(
            "calibration",
            optional=True,
            tooltip="Optional, makes every format more exact. From Finish Calibration or Load Calibration.",
        ),
        io.Combo.Input(
            "smoothing",
            options=[SEARCH, ALPHA, SHARED],
            default=SEARCH,
            optional=True,
            advanced=True,
            tooltip="Only with a calibration. search: best for each layer; alpha: one strength for all; lightx2v: to "
            "save for LightX2V.",
        ),
        io.Float.Input(
            "alpha",
            display_name="smoothing strength",
            default=DEFAULT_ALPHA,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip=f"Only for smoothing = alpha. Default {DEFAULT_ALPHA}; typical 0.5 to 0.85.",
        ),
    ]


def _rounding_inputs(*methods: str, tooltip: str):
    """The last inputs of both nodes, which were added after the others: workflows without them load as before."""
    return [
        io.Combo.Input(
            "rounding",
            display_name="rounding",
            options=[AUTO, *methods],
            default=AUTO,
            optional=True,
            advanced=True,
            tooltip=tooltip,
        ),
        io.Combo.Input(
            "rotation",
            display_name="rotation",
            options=list(ROTATIONS),
            default=AUTO,
            optional=True,
            advanced=True,
            tooltip="auto: as the format says. convrot: rotates int8-channel (more exact) and int4-g128 (with gptq). "
            "none: does not.",
        ),
    ]


def _method(rounding: str):
    """A row of METHODS, None for "auto"."""
    return None if rounding == AUTO else METHODS[rounding]


def _tips(plan, calibration, rounding: str) -> list[str]:
    """A line on what recorded inputs would bring, where none are there and nobody chose to go without."""
    if rounding != AUTO or (calibration is not None and calibration.inputs):
        return []
    found = gains(Counter(family(entry.choice.format) for entry in plan.layers.values()), calibration is not None)
    return [f"- {line[:1].upper()}{line[1:]}." for line in found]


def _check_lines(layers: str | None):
    """True, or what is wrong with the lines; `layers` is None if the input has a link."""
    try:
        parse_overrides(layers or "")
    except RuleError as error:
        return str(error)
    return True


class QuantizeModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VQuantizeModel",
            display_name="Quantize Model",
            category=CATEGORY,
            description="Makes a loaded diffusion model smaller (int8, fp8 or 4 bit), so that it needs less VRAM. "
            "LoRAs connected before it are merged into the result.",
            search_aliases=ALIASES,
            inputs=[
                io.Model.Input(
                    "model", tooltip="From any loader; best from a 16-bit file. LoRAs before it are merged in."
                ),
                *_inputs(),
                *_smoothing_inputs(),
                *_rounding_inputs(
                    NEAREST,
                    MSE,
                    GPTQ,
                    tooltip="auto: gptq where the calibration has tokens (minutes, on a CPU hours), else mse for int4 "
                    "and awq, nearest for the rest.",
                ),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def validate_inputs(cls, layers=""):
        return _check_lines(layers)

    @classmethod
    @error_on_node
    def execute(
        cls,
        model,
        format,
        layers="",
        scheme=None,
        calibration=None,
        smoothing=SEARCH,
        alpha=DEFAULT_ALPHA,
        rounding=NEAREST,
        rotation=AUTO,
    ):
        """Prompts of an older version have no rounding, and get what they got."""
        choice = scheme or SchemeChoice()
        rounder = Rounder(_method(rounding), calibration)
        rounder.check()
        selection = select_in_model(model, format, layers, choice, rotation)
        smoother = None
        if calibration is not None and smoothing == SHARED:
            smoother = shared_smoother(model, selection, calibration)
        elif calibration is not None:
            smoother = Smoother(calibration, alpha if smoothing == ALPHA else None)
        made = quantize_model(model, selection, choice, smoother, rounder, LayerProgress())
        plan = made.model.x2v_plan
        show("\n".join([*plan.lines(short=True), *_tips(plan, calibration, rounding)]))
        return io.NodeOutput(made)


class QuantizeCLIP(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VQuantizeCLIP",
            display_name="Quantize CLIP (Text Encoder)",
            category=CATEGORY,
            description="Makes a loaded text encoder smaller (int8, fp8 or 4 bit), so that it needs less VRAM. "
            "LoRAs connected before it are merged into the result.",
            search_aliases=[*ALIASES, "text encoder", "t5", "umt5"],
            inputs=[
                io.Clip.Input(
                    "clip", tooltip="From any loader; best from a 16-bit file. LoRAs before it are merged in."
                ),
                *_inputs(),
                *_rounding_inputs(
                    NEAREST,
                    MSE,
                    tooltip="auto: mse for int4 and awq, nearest, the fastest, for the rest. Right for almost "
                    "everybody.",
                ),
            ],
            outputs=[io.Clip.Output()],
        )

    @classmethod
    def validate_inputs(cls, layers=""):
        return _check_lines(layers)

    @classmethod
    @error_on_node
    def execute(cls, clip, format, layers="", scheme=None, rounding=NEAREST, rotation=AUTO):
        """Prompts of an older version have no rounding, and get what they got."""
        choice, rounder = scheme or SchemeChoice(), Rounder(_method(rounding))
        rounder.check()
        selection = select_in_clip(clip, format, layers, choice, rotation)
        made = quantize_clip(clip, selection, choice, rounder, LayerProgress())
        show("\n".join(made.patcher.model.x2v_plan.lines(short=True)))
        return io.NodeOutput(made)
