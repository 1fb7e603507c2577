"""A patcher under dynamic VRAM that keeps to a budget and, if asked to, makes no copies of its weights in RAM."""

from .settings import DISK, OffloadSettings
from .state import settings_of, size_of_buffers

# marks core's state of a model's copies as changed by us
OURS = "x2v_quant"
# what core knows of the prompt that runs, in releases that know anything of it
OF_THE_PROMPT = ("current_prompt",)


class DynamicBudgeted:
    """Mixed into the class of a ModelPatcherDynamic with a `Steered` attached: core pages weights in and out as it
    always does, below a mark."""

    def load(self, device_to=None, lowvram_model_memory=0, **options):
        settings = settings_of(self)
        if keeps_no_copies(settings):
            _without_copies(self)
        super().load(device_to, lowvram_model_memory, **options)
        vbar = self.model.dynamic_vbars.get(self.load_device)
        if settings.budget is not None and vbar is not None:
            vbar.set_watermark(max(settings.budget - size_of_buffers(self), 0))

    def detach(self, unpatch_all=True):
        result = super().detach(unpatch_all)
        _with_copies(self)
        return result


def keeps_no_copies(settings: OffloadSettings) -> bool:
    """Core's copies in RAM are page-locked, all or none."""
    return settings.mode == DISK or not settings.pinned


def _without_copies(patcher) -> None:
    """Core reads weights straight from their file where copies have no room, which is how it registers a device before
    a model is first loaded there."""
    pins = patcher.model.dynamic_pins
    device = patcher.load_device
    if pins[device].get(OURS):
        return
    patcher.partially_unload_ram(1e32)
    before = pins.pop(device)
    patcher.register_load_device(device)
    kept = {name: before[name] for name in OF_THE_PROMPT if name in before}
    pins[device].update({"hostbufs_initialized": True, OURS: True, **kept})


def _with_copies(patcher) -> None:
    """The next patcher of the same model begins as core does."""
    pins = patcher.model.dynamic_pins.get(patcher.load_device)
    if pins is not None and pins.pop(OURS, False):
        pins["hostbufs_initialized"] = False
