"""LoRAs beside the weights as patches of the weights, for what is saved or quantized anew."""

from collections.abc import Iterator

from comfy.weight_adapter import BypassInjectionManager

from .bypass import BEFORE, BEHIND, KEY, manager_of
from .errors import LoRAError
from .targets import WEIGHT

# core's adapters that do the same in a weight as beside it, and where in one's factors a DoRA's scale is, which core
# leaves out beside it
SUMS = {"lora": 4, "loha": 7, "lokr": 8}


def in_weights(patcher):
    """ModelPatcher, which core has not loaded -> a clone that merges what lies beside its weights, by our node or by
    core's; itself where nothing does. Raises LoRAError for an adapter that does something else in a weight."""
    adapters = [adapter for manager in _managers(patcher) for adapter in manager.adapters.items()]
    if not adapters:
        return patcher
    made = patcher.clone()
    for key in (BEFORE, KEY, BEHIND):
        made.injections.pop(key, None)
    for layer, (adapter, strength) in adapters:
        if adapter.name not in SUMS or adapter.weights[SUMS[adapter.name]] is not None:
            raise LoRAError(
                f"{layer} has a LoRA beside its weight that does something else in the weight ({adapter.name}, or "
                "DoRA). Load it with Load LoRA (any format), whose mode 'merge' puts it into the weight."
            )
        made.add_patches({f"{layer}{WEIGHT}": adapter}, strength)
    return made


def others_beside(patcher) -> list[str]:
    """Keys of what other packs put around layers, which is no LoRA of core's or ours."""
    return [key for key, held in patcher.injections.items() if held and key not in (BEFORE, KEY, BEHIND)]


def _managers(patcher) -> Iterator[BypassInjectionManager]:
    for key in (BEFORE, KEY):
        yield from filter(None, map(manager_of, patcher.injections.get(key, [])))
