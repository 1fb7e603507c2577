"""Quantize Model and Quantize CLIP: quantize the linear layers of a model from any loader."""

from comfy_api.latest import io

from ..calibration import DEFAULT_ALPHA
from ..layer_rules import RuleError, parse_overrides
from ..layer_rules.format_names import CHOICES
from ..quantizing import Smoother, quantize_clip, quantize_model, select_in_clip, select_in_model
from ..quantizing.sharing import SHARED, shared_smoother
from ..schemes import AUTO, SchemeChoice
from .calibrate import CalibrationType
from .scheme import CATEGORY, SchemeType

ALIASES = ["x2v", "lightx2v", "quantize", "int8", "fp8", "int4", "nvfp4", "mxfp8", "convert model", "save vram"]
SEARCH, ALPHA = "search", "alpha"


def _inputs():
    return [
        io.Combo.Input(
            "format",
            options=[AUTO, *CHOICES],
            default=AUTO,
            tooltip="'auto' is fp8-channel where this machine multiplies fp8, else int8-channel.",
        ),
        io.String.Input(
            "layers",
            multiline=True,
            default="",
            optional=True,
            tooltip="One line per exception: 'pattern = format' or 'pattern = keep', for instance 'ffn.2 = keep'.",
        ),
        SchemeType.Input("scheme", optional=True, tooltip="From Quantization Scheme: which kernels are preferred."),
    ]


def _smoothing_inputs():
    return [
        CalibrationType.Input(
            "calibration",
            optional=True,
            tooltip="From Finish Calibration or Load Calibration: int8-channel and fp8-channel layers are smoothed "
            "(SmoothQuant) where that lowers their error.",
        ),
        io.Combo.Input(
            "smoothing",
            options=[SEARCH, ALPHA, SHARED],
            default=SEARCH,
            optional=True,
            advanced=True,
            tooltip="With a calibration: 'search' finds the best strength for each layer, 'alpha' takes the one below, "
            "'lightx2v' finds one for the layers behind each norm: what can be saved in LightX2V's dialect.",
        ),
        io.Float.Input(
            "alpha",
            default=DEFAULT_ALPHA,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="SmoothQuant's alpha: how much of the activations' outliers goes into the weights.",
        ),
    ]


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
            description="Quantizes the linear layers of any loaded diffusion model. LoRAs in front of it are baked in; "
            "the model that comes in stays as it is.",
            search_aliases=ALIASES,
            inputs=[
                io.Model.Input("model", tooltip="From any loader, with the LoRAs that are to be baked in."),
                *_inputs(),
                *_smoothing_inputs(),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def validate_inputs(cls, layers=""):
        return _check_lines(layers)

    @classmethod
    def execute(cls, model, format, layers="", scheme=None, calibration=None, smoothing=SEARCH, alpha=DEFAULT_ALPHA):
        choice = scheme or SchemeChoice()
        selection = select_in_model(model, format, layers, choice)
        smoother = None
        if calibration is not None and smoothing == SHARED:
            smoother = shared_smoother(model, selection, calibration)
        elif calibration is not None:
            smoother = Smoother(calibration, alpha if smoothing == ALPHA else None)
        return io.NodeOutput(quantize_model(model, selection, choice, smoother))


class QuantizeCLIP(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VQuantizeCLIP",
            display_name="Quantize CLIP (Text Encoder)",
            category=CATEGORY,
            description="Quantizes the linear layers of any loaded text encoder. LoRAs in front of it are baked in; "
            "the text encoder that comes in stays as it is.",
            search_aliases=[*ALIASES, "text encoder", "t5", "umt5"],
            inputs=[
                io.Clip.Input("clip", tooltip="From any loader, with the LoRAs that are to be baked in."),
                *_inputs(),
            ],
            outputs=[io.Clip.Output()],
        )

    @classmethod
    def validate_inputs(cls, layers=""):
        return _check_lines(layers)

    @classmethod
    def execute(cls, clip, format, layers="", scheme=None):
        choice = scheme or SchemeChoice()
        return io.NodeOutput(quantize_clip(clip, select_in_clip(clip, format, layers, choice), choice))
