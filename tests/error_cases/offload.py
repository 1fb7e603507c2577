"""Values of Offload Control that a link can give and its widgets cannot."""

from .case import ErrorCase, linked, node
from .graphs import ours

NODE = "X2VOffloadControl"


def control(key: str, value: object, *words: str) -> ErrorCase:
    given = {
        "mode": "auto",
        "vram_budget_gb": 0.0,
        "prefetch": 1,
        "pinned_memory": True,
        "t5": "auto",
        "clip": "auto",
        "model": ["model", 0],
    }
    prompt = {**ours(), "offload": node(NODE, **given), "report": node("X2VKernelReport", model=["offload", 1])}
    return ErrorCase(NODE, lambda place: linked(prompt, "offload", key, value), words)


CASES = {
    "mode": control(
        "mode", "blocks", "There is no offload mode 'blocks'. Choose one of auto, model, block, phase, disk."
    ),
    "encoder's mode": control("t5", "block", "There is no offload t5 'block'. Choose one of auto, model, disk."),
    "budget": control("vram_budget_gb", -1.0, "A VRAM budget of -1.0 GB is too small. Set it to 0 for no limit."),
    "prefetch": control(
        "prefetch", -1, "prefetch is -1, but it is a number of blocks. Set it to 1, or to 0 to fetch none ahead."
    ),
}
