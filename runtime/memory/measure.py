"""Measure models: what each holds, and where it is."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch

from .mappings import file_mappings
from .report import Component, Held, MemoryReport, Peak
from .residency import parts, place
from .tensor_owners import HOLDERS, WEIGHTS

STREAMED = "weights on the move"  # what core's dynamic VRAM has brought closer, beside the weights themselves
BF16_BYTES = 2


def measure(patchers: Mapping[str, object], peak: Peak) -> MemoryReport:
    """name -> ModelPatcher; a report with a component for each. What two share is counted for the first one."""
    in_file = file_mappings()
    seen: set[tuple] = set()
    return MemoryReport(tuple(_component(name, patcher, in_file, seen) for name, patcher in patchers.items()), peak)


def _component(name: str, patcher, in_file: Callable[[int], bool], seen: set[tuple]) -> Component:
    size = _held(HOLDERS[WEIGHTS](patcher), in_file, set()).total
    held = {holder: _held(tensors(patcher), in_file, seen) for holder, tensors in HOLDERS.items()}
    elsewhere = size - held[WEIGHTS].total
    key = ("streamed", id(patcher.model))
    streamed = patcher.is_dynamic()
    if streamed and key not in seen:
        seen.add(key)
        held[STREAMED] = _on_the_move(patcher)
    return Component(name, held, size, _in_bf16(patcher.model), elsewhere, streamed)


def _held(tensors: Iterable[torch.Tensor], in_file: Callable[[int], bool], seen: set[tuple]) -> Held:
    """Bytes of the storages behind `tensors` that are not in `seen`, to which they are added."""
    held = Held()
    for tensor in tensors:
        for part in parts(tensor):
            storage = part.untyped_storage()
            key = (storage.device, storage._cdata)
            where = place(part, in_file)
            if where is None or key in seen:
                continue
            seen.add(key)
            held = replace(held, **{where: getattr(held, where) + storage.nbytes()})
    return held


def _on_the_move(patcher) -> Held:
    """Pages of dynamic VRAM on every device that the model has been on, and host buffers of its present one."""
    pages = sum(vbar.loaded_size() for vbar in patcher.model.dynamic_vbars.values())
    pinned = patcher.pinned_memory_size()
    return Held(device=pages, pinned=pinned, ram=max(0, patcher.loaded_ram_size() - pinned))


def _in_bf16(model: torch.nn.Module) -> int:
    """Bytes: two for each value, of a quantized weight too; whole numbers in buffers stay as they are."""
    weights = sum(math.prod(parameter.shape) for parameter in model.parameters())
    buffers = sum(
        buffer.numel() * (BF16_BYTES if buffer.dtype.is_floating_point else buffer.element_size())
        for buffer in model.buffers()
    )
    return weights * BF16_BYTES + buffers
