"""Measures loaded models: how many bytes each owns, and where they are."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch

from .mappings import file_mappings
from .report import Component, MemoryReport, MemoryUse, Peak
from .residency import plain_tensors, residency_of
from .tensor_owners import OWNERS, STREAMED, WEIGHTS

BF16_BYTES = 2


def measure(patchers: Mapping[str, object], peak: Peak) -> MemoryReport:
    """patchers: name -> ModelPatcher. A report with a component for each; memory that two share counts for the
    first."""
    in_file = file_mappings()
    seen: set[tuple] = set()
    return MemoryReport(tuple(_component(name, patcher, in_file, seen) for name, patcher in patchers.items()), peak)


def _component(name: str, patcher, in_file: Callable[[int], bool], seen: set[tuple]) -> Component:
    size = _bytes_of(OWNERS[WEIGHTS](patcher), in_file, set()).total
    held = {owner: _bytes_of(tensors(patcher), in_file, seen) for owner, tensors in OWNERS.items()}
    elsewhere = size - held[WEIGHTS].total
    key = ("streamed", id(patcher.model))
    streamed = patcher.is_dynamic()
    if streamed and key not in seen:
        seen.add(key)
        held[STREAMED] = _on_the_move(patcher)
    return Component(name, held, size, _in_bf16(patcher.model), elsewhere, streamed)


def _bytes_of(tensors: Iterable[torch.Tensor], in_file: Callable[[int], bool], seen: set[tuple]) -> MemoryUse:
    """The bytes of the storages of `tensors`, without those in `seen`; adds them to `seen`."""
    held = MemoryUse()
    for tensor in tensors:
        for part in plain_tensors(tensor):
            storage = part.untyped_storage()
            key = (storage.device, storage._cdata)
            where = residency_of(part, in_file)
            if where is None or key in seen:
                continue
            seen.add(key)
            held = replace(held, **{where: getattr(held, where) + storage.nbytes()})
    return held


def _on_the_move(patcher) -> MemoryUse:
    """Dynamic VRAM's copies: its pages on every device that the model has been on, and its host buffers."""
    pages = sum(vbar.loaded_size() for vbar in patcher.model.dynamic_vbars.values())
    pinned = patcher.pinned_memory_size()
    return MemoryUse(device=pages, pinned=pinned, ram=max(0, patcher.loaded_ram_size() - pinned))


def _in_bf16(model: torch.nn.Module) -> int:
    """Bytes of the model in bfloat16: two per value, quantized weights included. Integer buffers keep their size."""
    weights = sum(math.prod(parameter.shape) for parameter in model.parameters())
    buffers = sum(
        buffer.numel() * (BF16_BYTES if buffer.dtype.is_floating_point else buffer.element_size())
        for buffer in model.buffers()
    )
    return weights * BF16_BYTES + buffers
