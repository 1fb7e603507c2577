"""Turns bypass LoRAs (beside the weights) into patches of the weights, before a model is saved or quantized."""

from collections.abc import Iterator

from comfy.weight_adapter import BypassInjectionManager

from ..core.private import bypass_manager
from .bypass import AFTER, BEFORE, KEY
from .errors import LoRAError
from .targets import WEIGHT

# core's adapters that give the same result merged as beside a weight -> index of the DoRA scale in their factors, which
# core ignores beside a weight
SUMS = {"lora": 4, "loha": 7, "lokr": 8}


def in_weights(patcher):
    """Unloaded ModelPatcher -> a clone that merges the LoRAs which our node or core's put beside its weights; the
    patcher itself if there are none. Raises LoRAError for an adapter that would change its effect when merged."""
    adapters = [adapter for manager in _managers(patcher) for adapter in manager.adapters.items()]
    if not adapters:
        return patcher
    made = patcher.clone()
    for key in (BEFORE, KEY, AFTER):
        made.injections.pop(key, None)
    for layer, (adapter, strength) in adapters:
        if adapter.name not in SUMS or adapter.weights[SUMS[adapter.name]] is not None:
            raise LoRAError(
                f"{layer} has a bypass LoRA ({adapter.name}, or DoRA) that cannot be saved in the weight. Load it with "
                "Load LoRA (any format), mode 'merge'."
            )
        made.add_patches({f"{layer}{WEIGHT}": adapter}, strength)
    return made


def others_beside(patcher) -> list[str]:
    """Keys of other packs' injections: all but core's and our bypass LoRAs."""
    return [key for key, injections in patcher.injections.items() if injections and key not in (BEFORE, KEY, AFTER)]


def _managers(patcher) -> Iterator[BypassInjectionManager]:
    for key in (BEFORE, KEY):
        yield from filter(None, (bypass_manager(each.inject) for each in patcher.injections.get(key, [])))
