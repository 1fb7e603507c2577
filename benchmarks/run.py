"""All benchmarks as one report, but that of kernels, which the pack itself uses."""

import importlib
from collections.abc import Sequence

from ..cli.bench import PARTS
from ..core.on_path import StartError, use_comfyui
from ..kernels.timing.clock import FULL, QUICK
from ..kernels.timing.report import COMMAND, with_machine


def report(parts: Sequence[str] = PARTS, quick: bool = False) -> dict:
    """{"cases": [{name, ours, theirs, unit, target, part, absent, spread, ratio, met}], command, machine, versions,
    date}; quick: a small case of each part, to see that it runs. Raises StartError without a ComfyUI that has int8
    layers."""
    path = use_comfyui()
    from ..core.features import reads_int8

    if not reads_int8():
        raise StartError(
            f"bench measures against ComfyUI's own int8 layers, and the ComfyUI in {path} has none. Set COMFYUI_PATH "
            "to 0.27 or newer, or run bench --kernels."
        )
    from tqdm import tqdm  # ComfyUI brings it

    cases = []
    for part in tqdm(parts, desc="bench", unit="part", disable=None):
        cases += importlib.import_module(f".{part}", __package__).cases(QUICK if quick else FULL)
    chosen = [f"--part {part}" for part in parts] if tuple(parts) != PARTS else []
    return with_machine(cases, " ".join([COMMAND, *chosen, *(["--quick"] if quick else [])]))
