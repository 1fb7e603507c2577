"""How few bits a weight's codes have."""

from comfy_kitchen.tensor import QuantizedTensor

BITS = 8  # of a byte


def bits_per_code(weight: QuantizedTensor) -> float:
    """Bits of memory for one value's code, of any layout, scales not counted: 8 for int8, 4 for nvfp4. A little more
    where rows or columns are filled up."""
    return BITS * weight._qdata.nbytes / weight.numel()
