"""A weight quantized as a conversion does it, whole."""

from x2v_quant.converting.rows import in_parts, joined


def quantize(rows, shape, format_name, place, **more):
    """The arguments of rows.in_parts -> StoredWeight."""
    return joined(in_parts(rows, shape, format_name, place, **more), shape, format_name)
