"""A wrapper that brings a model's blocks while it runs: through buffers of ours, or by core's own prefetching."""

import threading
import weakref
from collections.abc import Callable

import comfy.model_prefetch
import torch

from .blocks import Block
from .lanes import lane
from .settings import DISK, OffloadSettings
from .streaming import Streamer

# where core's own models ask for prefetching themselves
PREFETCHED_BY_CORE = ("comfy.ldm.lightricks.av_model", "comfy.ldm.minimax.model")


class Streaming:
    """A wrapper of BaseModel.apply_model: streams those parts of a model that core has left in RAM or in their file.

    is_away: (parameter, device) -> whether it has to be brought there.
    """

    def __init__(
        self,
        settings: OffloadSettings,
        parts_of: Callable[[torch.nn.Module], list[Block]],
        is_away: Callable[[torch.nn.Parameter, torch.device], bool] = lambda parameter, device: (
            parameter.device != device
        ),
    ):
        self.settings, self.parts_of, self._is_away = settings, parts_of, is_away
        self._streamers: weakref.WeakKeyDictionary[torch.nn.Module, Streamer] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def __call__(self, executor, x, *args, **kwargs):
        model = executor.class_obj.diffusion_model
        streamer = self._streamer(model, x.device)
        streamer.begin()
        hooks = _before_each(self.parts_of(model), streamer.enter)
        try:
            return executor(x, *args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
            streamer.end()

    def free_device(self, patcher) -> None:
        """After sampling."""
        streamer = self._streamers.get(patcher.model.diffusion_model)
        if streamer is not None:
            streamer.free_device()

    def close(self, patcher, unpatch_all: bool = True) -> None:
        """When core unloads the model; one that only changes its patches keeps what waits for it."""
        if unpatch_all and patcher.model.diffusion_model in self._streamers:
            self._streamers.pop(patcher.model.diffusion_model).close()

    def _streamer(self, model: torch.nn.Module, device: torch.device) -> Streamer:
        with self._lock:
            if model not in self._streamers:
                settings = self.settings
                streamer = Streamer(
                    self.parts_of(model),
                    lane(device),
                    lambda parameter: self._is_away(parameter, device),
                    settings.prefetch,
                    settings.pinned,
                    from_file=settings.mode == DISK,
                )
                weakref.finalize(model, streamer.close)
                self._streamers[model] = streamer
            return self._streamers[model]


class Prefetching:
    """A wrapper of BaseModel.apply_model: core's prefetching of dynamic VRAM, for models that do not ask for it."""

    def __init__(self, parts_of: Callable[[torch.nn.Module], list[Block]]):
        self._parts_of = parts_of

    def __call__(self, executor, x, *args, **kwargs):
        model = executor.class_obj.diffusion_model
        if type(model).__module__ in PREFETCHED_BY_CORE:
            return executor(x, *args, **kwargs)
        parts = self._parts_of(model)
        queue = comfy.model_prefetch.make_prefetch_queue(
            [part.module for part in parts], x.device, {"prefetch_dynamic_vbars": True}
        )
        if queue is None:
            return executor(x, *args, **kwargs)
        waiting = [part.name for part in parts]

        def enter(name: str) -> None:
            # a block out of order is fetched when it computes
            if waiting and waiting[0] == name:
                waiting.pop(0)
                comfy.model_prefetch.prefetch_queue_pop(queue, x.device, None)

        hooks = _before_each(parts, enter)
        try:
            result = executor(x, *args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
        if waiting:
            comfy.model_prefetch.cleanup_prefetch_queues()
        else:
            comfy.model_prefetch.prefetch_queue_pop(queue, x.device, None)
        return result


def _before_each(parts: list[Block], call: Callable[[str], None]) -> list:
    """Hooks that call `call` with a part's name before it computes."""

    def hook_of(name: str):
        return lambda module, args: call(name)

    return [part.module.register_forward_pre_hook(hook_of(part.name)) for part in parts]
