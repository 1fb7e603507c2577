"""The user's lines of layers and formats, which no model has or no format can hold."""

from .case import ErrorCase, linked
from .graphs import behind, dense
from .models import narrow
from .place import Place, demo

NODE = "X2VQuantizeModel"
FORMATS = "Formats: int8-channel,"


def early(line: str, *words: str) -> ErrorCase:
    """Refused before anything runs."""
    return ErrorCase(NODE, lambda place: behind(dense(), NODE, format="auto", layers=line), words, early=True)


def late(line: str, *words: str, format_name: str = "int8-channel") -> ErrorCase:
    return ErrorCase(
        NODE, lambda place: linked(behind(dense(), NODE, format=format_name), "behind", "layers", line), words
    )


def odd(place: Place):
    name = place.put("diffusion_models", "odd.safetensors", demo("t2v", narrow(500), "bf16"))
    return behind(dense(name), NODE, format="int8-channel", layers="ffn.0 = nvfp4")


CASES = {
    "form": early("ffn.2", "Line 1 of the layer rules ('ffn.2') is not of the form 'pattern = format'. Formats: "),
    "form, linked": late(
        "# none\nffn.2 int8",
        "Line 2 of the layer rules ('ffn.2 int8') is not of the form 'pattern = format'. Formats: ",
    ),
    "too many": early(
        "x = keep\n" * 2001, "There are 2001 layer rules, and 2000 are read at most. Write one with * for"
    ),
    "too many characters": early(
        "#" * 1_000_001, "The layer rules have 1000001 characters, and 1000000 are read at most. Write one with * for"
    ),
    "a long line": early(
        f"{'x' * 1024} = keep", "Line 1 of the layer rules has 1031 characters, and no layer's name has more than 1024."
    ),
    "too many, linked": late("x = keep\n" * 2001, "There are 2001 layer rules, and 2000 are read at most."),
    "too many characters, linked": late("#" * 1_000_001, "The layer rules have 1000001 characters, and 1000000 are"),
    "a long line, linked": late(f"{'x' * 1024} = keep", "Line 1 of the layer rules has 1031 characters, and no layer"),
    "format": early("ffn.2 = int9", "Line 1 of the layer rules", "'int9' is neither a format nor a scheme. Formats: "),
    "format, linked": late(
        "ffn.2 = int9",
        "Line 1 of the layer rules ('ffn.2 = int9'): 'int9' is neither a format nor a scheme. Formats: ",
        "Or keep, which leaves the layer as it is.",
    ),
    "scheme": late(
        "ffn.2 = dequant", "Line 1 of the layer rules ('ffn.2 = dequant'): Scheme dequant has no format of its own."
    ),
    "smoothed": late("ffn.2 = int8-channel-smooth", "is what int8-channel becomes by smoothing, and cannot be chosen."),
    "of a family": late(
        "ffn.2 = w4a8-64", "is what w4a8 becomes for some layers or kernels, and cannot be chosen: write w4a8."
    ),
    "layer": late("blocks.9.* = keep", "Layer rule 'blocks.9.* = keep' matches no layer of this model. Did you mean "),
    "shape": ErrorCase(
        NODE,
        odd,
        (
            "Layer rule 'ffn.0 = nvfp4': blocks.0.ffn.0 cannot be nvfp4, for which out_features has to be a multiple "
            "of 16, not 500. Give it another format or keep.",
        ),
    ),
}
