"""The models' linear layers, activation quantization included, against torch, ComfyUI's own layers and torchao."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from ..formats import FORMATS, fitting
from ..kernels import Choice, choose
from ..kernels.machine import Machine, default_device, describe
from ..kernels.timing.case import Case, timed
from ..kernels.timing.clock import FULL, Effort, Timing, measure
from .case import missing
from .peers import PEERS, Peer, computing_dtype
from .shapes import CLIP_H, MODELS, Layer, Model

PART = "linear"
# measured where nothing multiplies in low precision: what LightX2V publishes every model in
USUAL = ("int8-channel", "fp8-channel")
# what the int8 path must reach on a CPU with VNNI, with layers of Wan 1.3B: (tokens, K, N)
PROMISED = {(1024, 1536, 8960), (4096, 1536, 1536)}
CPU_TARGETS = {"torch bf16": 1.5, "torch fp32": 2.5}
# torch multiplies int8 on a GPU from 17 rows on
QUICK_TOKENS = 32

Work = tuple[Model, Layer]


@dataclass
class Pace:
    """What a peer's smaller layers say about the time of a larger one. `patience`: seconds that one run may take."""

    patience: float
    seconds: dict[str, float] = field(default_factory=dict)

    def too_slow(self, peer: str, products: int) -> str | None:
        expected = self.seconds.get(peer, 0.0) * products
        return (
            f"would take about {expected:.0f} s a run, judging by smaller layers" if expected > self.patience else None
        )

    def note(self, peer: str, products: int, seconds: float) -> None:
        self.seconds[peer] = seconds / products


@torch.inference_mode()
def cases(effort: Effort = FULL) -> list[Case]:
    """A case per layer, format and peer, in milliseconds. Each side gets activations of the peer's dtype. Formats are
    those with a low-precision kernel here; where there is none, USUAL dequantized."""
    device = default_device()
    machine = describe(device)
    pace = Pace(effort.patience)
    found: dict[Work, list[Case]] = {}
    for model, layer in sorted(_work(effort), key=lambda work: _products(work[1], machine)):
        found[model, layer] = list(_layer(model, layer, machine, device, effort, pace))
    return [case for work in _work(effort) for case in found[work]]


def _work(effort: Effort) -> Iterable[Work]:
    if effort.quick:
        layer = min(CLIP_H.layers, key=lambda layer: layer.k * layer.n)
        return [(CLIP_H, replace(layer, tokens=QUICK_TOKENS, cpu_tokens=QUICK_TOKENS))]
    return [(model, layer) for model in MODELS for layer in model.layers]


def _products(layer: Layer, machine: Machine) -> int:
    return layer.rows(machine.kind) * layer.k * layer.n


def _choices(machine: Machine, shape: tuple[int, int], dtype: torch.dtype) -> dict[str, Choice]:
    """Format -> how `auto` computes it here with activations of `dtype`."""
    names = [name for name, row in FORMATS.items() if row.family == name]
    choices = {name: choose(fitting(name, shape), machine, shape, dtype=dtype) for name in names}
    fast = {name: choice for name, choice in choices.items() if choice.kernel.activation != "float"}
    return fast or {name: choices[name] for name in USUAL}


def _layer(model, layer, machine, device, effort, pace) -> Iterator[Case]:
    tokens, products = layer.rows(machine.kind), _products(layer, machine)
    weight = torch.randn((layer.n, layer.k), device=device) / layer.k**0.5
    bias = torch.randn(layer.n, device=device)
    absent: list[tuple[Peer, str]] = []
    own: dict[str, Timing] = {}
    for dtype, peers in _by_dtype(machine).items():
        reasons = {peer: peer.why_not(machine) or pace.too_slow(peer.name, products) for peer in peers}
        absent += [(peer, reason) for peer, reason in reasons.items() if reason is not None]
        running = [peer for peer, reason in reasons.items() if reason is None]
        if not running:
            continue
        x = torch.randn((tokens, layer.k), device=device).to(dtype)
        runs, activations = {}, {}
        for format_name, choice in _choices(machine, (layer.n, layer.k), dtype).items():
            name = _name(model, layer, tokens, format_name, choice)
            held = FORMATS[choice.format].quantize(weight, dtype)
            runs[name] = partial(choice.kernel.linear, x, held._qdata, held._params, bias)
            activations[name] = choice.kernel.activation
        for peer in running:
            runs[peer.name] = partial(peer.build(weight.to(dtype), bias.to(dtype)), x)
        times = measure(runs, effort, warmups=2 if machine.kind == "cuda" else 1)
        if dtype == computing_dtype(machine):
            own = {name: times[name] for name in activations}
        for peer in running:
            pace.note(peer.name, products, times[peer.name].median)
            for name, activation in activations.items():
                target = _target(machine, layer, activation, peer.name)
                yield timed(PART, name, peer.name, times[name], times[peer.name], target=target)
    choices = _choices(machine, (layer.n, layer.k), computing_dtype(machine))
    names = [_name(model, layer, tokens, format_name, choice) for format_name, choice in choices.items()]
    for peer, reason in absent:
        for name in names:
            yield missing(PART, name, peer.name, own[name].median * 1e3 if own else None, "ms", reason)


def _name(model: Model, layer: Layer, tokens: int, format_name: str, choice: Choice) -> str:
    return f"{model.name} {layer.group}, {tokens}x{layer.k}x{layer.n}, {format_name} ({choice.kernel.name})"


def _by_dtype(machine: Machine) -> dict[torch.dtype, list[Peer]]:
    """Peers that get the same activations, those in the computing dtype first."""
    groups: dict[torch.dtype, list[Peer]] = {computing_dtype(machine): []}
    for peer in PEERS:
        groups.setdefault(peer.dtype or computing_dtype(machine), []).append(peer)
    return groups


def _target(machine: Machine, layer: Layer, activation: str, peer: str) -> float | None:
    promised = machine.kind == "cpu" and activation == "int8" and (layer.cpu_tokens, layer.k, layer.n) in PROMISED
    return CPU_TARGETS.get(peer) if promised else None
