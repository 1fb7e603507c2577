"""What the oldest ComfyUI that the pack runs in does not have: marks that skip tests of it, with the reason."""

import pytest

from x2v_quant import core_features

core_reads_int8 = pytest.mark.skipif(
    not core_features.reads_int8(), reason="this ComfyUI's own loaders read no int8 layers (0.27 and newer do)"
)
core_multiplies_int8 = pytest.mark.skipif(
    not core_features.multiplies_int8(), reason="this comfy-kitchen has no int8_linear (ComfyUI 0.27's and newer have)"
)
core_requantizes_as_held = pytest.mark.skipif(
    not core_features.requantizes_as_held(),
    reason="this ComfyUI quantizes patched weights without what they hold beside their codes (0.27 and newer keep it)",
)


def read_by_core(formats):
    """Names of formats for a test in which ComfyUI's own loaders read them."""
    return [pytest.param(name, marks=core_reads_int8) if name.startswith("int8") else name for name in formats]
