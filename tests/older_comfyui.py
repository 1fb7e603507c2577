"""What the oldest ComfyUI that the pack runs in does not have: marks that skip tests of it, with the reason."""

import comfy.ops
import comfy.supported_models
import pytest

from x2v_quant.core import features

# what came with ComfyUI 0.30
NEWEST = hasattr(comfy.supported_models, "MiniMaxH3")

core_reads_int8 = pytest.mark.skipif(
    not features.reads_int8(), reason="this ComfyUI's own loaders read no int8 layers (0.27 and newer do)"
)
core_reads_awq = pytest.mark.skipif(
    not features.reads_awq(), reason="this ComfyUI's own loaders read no awq_w4a16 layers (0.38 and newer do)"
)
core_reads_rotated_int4 = pytest.mark.skipif(
    not features.reads_rotated_int4(), reason="this ComfyUI's own loaders read no convrot_w4a4 layers (0.30's do)"
)
core_multiplies_int8 = pytest.mark.skipif(
    not features.multiplies_int8(), reason="this comfy-kitchen has no int8_linear (ComfyUI 0.27's and newer have)"
)
core_rotates_int8 = pytest.mark.skipif(
    not features.rotates_int8(), reason="this comfy-kitchen rotates no int8 weights (ComfyUI 0.27's and newer do)"
)
core_has_w4a8 = pytest.mark.skipif(
    not features.has_w4a8(), reason="this comfy-kitchen has no w4a8 layout (ComfyUI 0.31's and newer have)"
)
core_reads_w4a8 = pytest.mark.skipif(
    not features.reads_w4a8(), reason="this ComfyUI's own loaders read no w4a8 layers (0.31 and newer do)"
)
core_requantizes_with_params = pytest.mark.skipif(
    not features.requantizes_with_params(),
    reason="this ComfyUI quantizes patched weights without what they hold beside their codes (0.27 and newer keep it)",
)
core_fuses_activations = pytest.mark.skipif(
    not hasattr(comfy.ops, "linear_input_act"), reason="this ComfyUI has no linear_input_act (0.30 and newer have)"
)
core_knows_minimax_h3 = pytest.mark.skipif(not NEWEST, reason="this ComfyUI has no MiniMax-H3 (0.30 and newer have)")
core_knows_seedvr2 = pytest.mark.skipif(
    not hasattr(comfy.supported_models, "SeedVR2"), reason="this ComfyUI has no SeedVR2 (0.27 and newer have)"
)
core_has_all_names = pytest.mark.skipif(
    not NEWEST, reason="messages have names of nodes and options that ComfyUI 0.30 has"
)
core_brings_newer_templates = pytest.mark.skipif(
    not NEWEST,
    reason="of templates before ComfyUI 0.30 comfy-cli gives a subgraph's widgets each other's values",
)
todays_page = pytest.mark.skipif(
    not NEWEST, reason="the page of an older ComfyUI draws nodes and lists problems otherwise (0.30's is tested)"
)
# how the names of models and families in the tests' tables begin -> what they need
NEWER = {"minimax-h3": core_knows_minimax_h3, "seedvr2": core_knows_seedvr2}


def in_core(rows):
    """For a test that builds core's models: their names, families of theirs, or tuples that begin with one."""
    rows = [row if isinstance(row, tuple) else (row,) for row in rows]
    names = [getattr(row[0], "name", row[0]) for row in rows]
    return [pytest.param(*row, marks=_marks(name)) for row, name in zip(rows, names, strict=True)]


def is_in_core(name):
    """Whether core has the model of that name."""
    return not any(mark.args[0] for mark in _marks(name))


def _marks(name):
    return [mark for start, mark in NEWER.items() if name.lower().startswith(start)]


def read_by_core(formats):
    """Names of formats for a test in which ComfyUI's own loaders read them."""
    marks = {
        "int8": core_reads_int8,
        "awq": core_reads_awq,
        "w4a8": core_reads_w4a8,
        "convrot-w4a4": core_reads_rotated_int4,
    }
    return [
        pytest.param(name, marks=[mark for start, mark in marks.items() if name.startswith(start)]) for name in formats
    ]
