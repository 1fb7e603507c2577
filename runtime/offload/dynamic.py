"""A ModelPatcher under dynamic VRAM that keeps to a budget and can do without copies of its weights in RAM."""

from .settings import DISK, OffloadSettings
from .state import settings_of, size_of_buffers

# marks core's state of a model's copies as changed by us
OURS = "x2v_quant"
# core's entries about the prompt that runs, in releases that have them
OF_THE_PROMPT = ("current_prompt",)


class DynamicBudgeted:
    """Mixin for the class of a ModelPatcherDynamic with an `OffloadState` attached. Core pages weights in and out as
    always, up to the budget."""

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
    """Whether weights get no copies in RAM: core page-locks its copies, all or none."""
    return settings.mode == DISK or not settings.pinned


def _without_copies(patcher) -> None:
    """Have core read weights straight from their file, as it does where copies have no room: the state in which it
    registers a device before a model is first loaded there."""
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
    """Undo `_without_copies`, for the next patcher of the same model."""
    pins = patcher.model.dynamic_pins.get(patcher.load_device)
    if pins is not None and pins.pop(OURS, False):
        pins["hostbufs_initialized"] = False
