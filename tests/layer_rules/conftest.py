"""Core's own models, small and without weights: what the rules are held against."""

from dataclasses import dataclass

import pytest
import torch
from core_models import MODELS, built


@dataclass(frozen=True)
class Model:
    """`layers`: names of all two-dimensional `weight`s -> (N, K), as a file or a model has them; `linear`: those that
    are linear layers; `names`: of every tensor."""

    layers: dict[str, tuple[int, int]]
    linear: frozenset[str]
    names: tuple[str, ...]

    def renamed(self, prefix: str) -> "Model":
        """The same with a name before every name, as ComfyUI puts it before an encoder's."""
        return Model(
            {f"{prefix}{name}": shape for name, shape in self.layers.items()},
            frozenset(f"{prefix}{name}" for name in self.linear),
            tuple(f"{prefix}{name}" for name in self.names),
        )


def _described(model: torch.nn.Module) -> Model:
    tensors = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    weights = {name.removesuffix(".weight"): shape for name, shape in tensors.items() if name.endswith(".weight")}
    layers = {name: shape for name, shape in weights.items() if len(shape) == 2}
    linear = frozenset(name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear))
    return Model(layers, linear, tuple(tensors))


@pytest.fixture(scope="session")
def core_model():
    """core_model(a name in MODELS) -> Model"""
    known = {}

    def model(name: str) -> Model:
        if name not in known:
            known[name] = _described(built(name))
        return known[name]

    return model


@pytest.fixture(scope="session")
def every_model(core_model):
    """name -> Model, of all that core has"""
    from older_comfyui import is_in_core

    return {name: core_model(name) for name in MODELS if is_in_core(name)}
