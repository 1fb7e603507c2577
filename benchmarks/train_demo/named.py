"""A state dict as a module: trained by its names, without classes for its layers."""

import torch
import torch.nn.functional as F

from ...demo.trained import Tensors


class Named(torch.nn.Module):
    """Every tensor of `tensors` as a parameter; `self[name]` is one."""

    def __init__(self, tensors: Tensors):
        super().__init__()
        self.places = {name: place for place, name in enumerate(tensors)}
        self.values = torch.nn.ParameterList(tensor.float().clone() for tensor in tensors.values())

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.values[self.places[name]]

    def __contains__(self, name: str) -> bool:
        return name in self.places

    def count(self, prefix: str) -> int:
        """How many numbers follow `prefix` in the names: blocks of a stack."""
        return len({name.removeprefix(prefix).split(".")[0] for name in self.places if name.startswith(prefix)})

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        if f"{name}.bias" not in self:
            return F.linear(x, self[f"{name}.weight"])
        return F.linear(x, self[f"{name}.weight"], self[f"{name}.bias"])

    def layer_norm(self, name: str, x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"], eps)

    def rms_norm(self, name: str, x: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
        return F.rms_norm(x, x.shape[-1:], self[f"{name}.weight"], eps)

    @torch.no_grad()
    def fill(self, tensors: Tensors) -> None:
        """Set every parameter. Raises KeyError for one that `tensors` lacks."""
        for name in self.places:
            self[name].copy_(tensors[name])

    def tensors(self, dtype: torch.dtype = torch.float32) -> Tensors:
        values = (value.detach().to("cpu", dtype, copy=True).contiguous() for value in self.values)
        return dict(zip(self.places, values, strict=True))


def heads_apart(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[B, L, heads * d] -> [B, heads, L, d]"""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
