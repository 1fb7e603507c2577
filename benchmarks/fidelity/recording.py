"""Inputs of linear layers while the baseline samples: a bounded number of rows of each."""

import torch

ROWS = 256  # per layer
CASES = 4
EVERY = 6  # one model call in so many: the first, the seventh, ... of 20 steps
SEED = 0


class Recorder:
    """Context manager that watches layers of `model` by name. Of every EVERY-th call of a layer it keeps `rows` rows,
    drawn at random among those that differ: the padding behind a prompt counts once."""

    def __init__(self, model: torch.nn.Module, layers: list[str], rows: int):
        self._rows = rows
        self._layers = {name: model.get_submodule(name) for name in layers}
        self._kept: dict[str, list[torch.Tensor]] = {name: [] for name in layers}
        self._calls = dict.fromkeys(layers, 0)
        self._generator = torch.Generator().manual_seed(SEED)
        self._hooks: list = []

    def __enter__(self) -> "Recorder":
        for name, layer in self._layers.items():
            self._hooks.append(layer.register_forward_pre_hook(lambda _, inputs, name=name: self._see(name, inputs[0])))
        return self

    def __exit__(self, *_) -> None:
        for hook in self._hooks:
            hook.remove()

    def _see(self, name: str, x: torch.Tensor) -> None:
        turn = self._calls[name] % EVERY == 0
        self._calls[name] += 1
        if turn:
            rows = x.detach().reshape(-1, x.shape[-1]).cpu().unique(dim=0)
            drawn = torch.randperm(len(rows), generator=self._generator)[: self._rows]
            self._kept[name].append(rows[drawn])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Layer -> inputs [at most ROWS, K], in the dtype they were seen in."""
        return {name: torch.cat(parts)[:ROWS].contiguous() for name, parts in self._kept.items()}
