"""A ModelPatcher that keeps to a budget of device memory, for models without dynamic VRAM."""

import comfy.model_management

from .resident import Entry, loose, resident
from .state import ATTACHMENT, size_of_buffers


class Budgeted:
    """Mixin for the class of a ModelPatcher with an `OffloadState` attached. Core loads weights as always, with less
    room, and in another order: whole blocks, the first ones of the model first."""

    _resident: frozenset[str] | None = None

    def partially_load(self, device_to, extra_memory=0, force_patch_weights=False):
        room = self.room_for_weights() - self.model.model_loaded_weight_memory
        return super().partially_load(device_to, min(extra_memory, room), force_patch_weights)

    def load(self, device_to=None, lowvram_model_memory=0, force_patch_weights=False, full_load=False):
        if not full_load:
            entries = self._entries()
            stays = resident(entries, self.attachments[ATTACHMENT].in_model(), lowvram_model_memory)
            self._resident = frozenset(stays)
            sizes = sorted(entry.nbytes for entry in entries if entry.name not in self._resident)
            # core wants room for what it would stream next as well
            ahead = sum(sizes[: comfy.model_management.NUM_STREAMS]) + 1
            lowvram_model_memory = sum(entry.nbytes for entry in entries if entry.name in self._resident) + ahead
        try:
            super().load(device_to, lowvram_model_memory, force_patch_weights, full_load)
        finally:
            self._resident = None

    def room_for_weights(self) -> float:
        """Bytes of device memory for weights that stay: the budget less the buffers that blocks stream through.
        Without a budget the size of everything outside the blocks."""
        state = self.attachments[ATTACHMENT]
        if state.settings.budget is not None:
            return max(state.settings.budget - size_of_buffers(self), 1)
        if not state.blocks:
            return float("inf")
        return max(sum(entry.nbytes for entry in loose(self._entries(), state.in_model())), 1)

    def _entries(self) -> list[Entry]:
        return [
            Entry(name, size, not hasattr(module, "comfy_cast_weights"))
            for _, size, name, module, _ in super()._load_list()
        ]

    def _load_list(self, for_dynamic=False, default_device=None):
        """Core's entries with another first element, by which core sorts: it loads the largest first and unloads the
        smallest first."""
        found = super()._load_list(for_dynamic, default_device)
        if for_dynamic:
            return found
        order = {name: place for place, name in enumerate(self._in_order(found))}
        return [(1 - order[entry[-3]] / (len(order) + 1), *entry[-4:]) for entry in found]

    def _in_order(self, found: list[tuple]) -> list[str]:
        """Names of what stays, in the order of the model, then the rest by size, so that core takes none of it."""
        sizes = {entry[-3]: entry[-4] for entry in found}
        if self._resident is None:
            entries = [Entry(name, size) for name, size in sizes.items()]
            return resident(entries, self.attachments[ATTACHMENT].in_model(), float("inf"))
        first = [name for name in sizes if name in self._resident]
        return first + sorted((name for name in sizes if name not in self._resident), key=sizes.__getitem__)

    def pin_weight_to_device(self, key):
        state = self.attachments[ATTACHMENT]
        # blocks lie in page-locked buffers of their own
        in_a_block = any(key.startswith(f"{block.name}.") for block in state.in_model())
        if state.settings.pinned and not in_a_block:
            super().pin_weight_to_device(key)
