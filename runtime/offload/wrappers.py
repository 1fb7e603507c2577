"""Wrappers of BaseModel.apply_model that fetch blocks while the model runs: our streaming, or core's prefetching."""

import threading
import weakref
from collections.abc import Callable

import comfy.model_prefetch
import torch

from ...common.compiled import is_compiled, uncompiled
from ...linear.layers import hooked
from .blocks import Block
from .copy_stream import copy_stream
from .settings import DISK, OffloadSettings
from .streaming import Streamer

# where core's own models ask for prefetching themselves
PREFETCHED_BY_CORE = ("comfy.ldm.lightricks.av_model", "comfy.ldm.minimax.model")


class Streaming:
    """Wrapper of BaseModel.apply_model that streams the blocks that core has left in RAM or in their file.

    blocks_of: diffusion model -> its blocks. is_away: (parameter, device) -> whether it has to be copied there.
    """

    def __init__(
        self,
        settings: OffloadSettings,
        blocks_of: Callable[[torch.nn.Module], list[Block]],
        is_away: Callable[[torch.nn.Parameter, torch.device], bool] = lambda parameter, device: (
            parameter.device != device
        ),
    ):
        self.settings, self.blocks_of, self._is_away = settings, blocks_of, is_away
        # model -> its streamer and a finalizer that closes it, at the latest when the model is garbage
        self._streamers: weakref.WeakKeyDictionary[torch.nn.Module, tuple[Streamer, weakref.finalize]] = (
            weakref.WeakKeyDictionary()
        )
        self._lock = threading.Lock()

    def __call__(self, executor, x, *args, **kwargs):
        model = uncompiled(executor.class_obj.diffusion_model)
        streamer = self._streamer(model, x.device)
        streamer.begin()
        complete = False
        try:
            with hooked(_modules(self.blocks_of(model)), before=lambda name, *_: streamer.enter(name)):
                result = executor(x, *args, **kwargs)
            complete = True
            return result
        finally:
            streamer.end(complete)

    @property
    def device_bytes(self) -> int:
        """Bytes that the buffers on all devices take now."""
        return sum(streamer.device_bytes for streamer, _ in self._streamers.values())

    def free_device(self, patcher) -> None:
        """ON_CLEANUP callback, after sampling: free the buffers on the device."""
        if patcher.model.diffusion_model in self._streamers:
            self._streamers[patcher.model.diffusion_model][0].free_device()

    def close(self, patcher, unpatch_all: bool = True) -> None:
        """ON_DETACH callback: free everything, unless core only swaps the model's patches (unpatch_all=False)."""
        if unpatch_all and patcher.model.diffusion_model in self._streamers:
            _, close = self._streamers.pop(patcher.model.diffusion_model)
            close()

    def _streamer(self, model: torch.nn.Module, device: torch.device) -> Streamer:
        with self._lock:
            if model not in self._streamers:
                settings = self.settings
                streamer = Streamer(
                    self.blocks_of(model),
                    copy_stream(device),
                    lambda parameter: self._is_away(parameter, device),
                    settings.prefetch,
                    settings.pinned,
                    from_file=settings.mode == DISK,
                )
                self._streamers[model] = streamer, weakref.finalize(model, streamer.close)
            return self._streamers[model][0]


class Prefetching:
    """Wrapper of BaseModel.apply_model: dynamic VRAM's prefetching, for models that do not call it themselves."""

    def __init__(self, blocks_of: Callable[[torch.nn.Module], list[Block]]):
        self._blocks_of = blocks_of

    def __call__(self, executor, x, *args, **kwargs):
        model = executor.class_obj.diffusion_model
        # a compiled model would trace the hooks
        if is_compiled(model) or type(model).__module__ in PREFETCHED_BY_CORE:
            return executor(x, *args, **kwargs)
        blocks = self._blocks_of(model)
        queue = comfy.model_prefetch.make_prefetch_queue(
            [block.module for block in blocks], x.device, {"prefetch_dynamic_vbars": True}
        )
        if queue is None:
            return executor(x, *args, **kwargs)
        waiting = [block.name for block in blocks]

        def enter(name: str, *_) -> None:
            # a block out of order is fetched when it computes
            if waiting and waiting[0] == name:
                waiting.pop(0)
                comfy.model_prefetch.prefetch_queue_pop(queue, x.device, None)

        with hooked(_modules(blocks), before=enter, eager=False):
            result = executor(x, *args, **kwargs)
        if waiting:
            comfy.model_prefetch.cleanup_prefetch_queues()
        else:
            comfy.model_prefetch.prefetch_queue_pop(queue, x.device, None)
        return result


def _modules(blocks: list[Block]) -> dict[str, torch.nn.Module]:
    return {block.name: block.module for block in blocks}
