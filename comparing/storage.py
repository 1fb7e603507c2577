"""How a loaded linear layer, from any loader, stores its weight."""

import torch
from comfy_kitchen.tensor import QuantizedTensor


def stored(module: torch.nn.Module) -> str:
    """A description: "int8-channel on torch" for our layers, else core's layout, GGUF's type or the dtype."""
    if getattr(module, "kernel", None) is not None:
        return f"{module.format} on {module.kernel.name}"
    if isinstance(module.weight, QuantizedTensor):
        return module.weight._layout_cls
    gguf_type = getattr(module.weight, "tensor_type", None)
    return str(module.weight.dtype).removeprefix("torch.") if gguf_type is None else gguf_type.name
