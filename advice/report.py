"""Advice as data: for a name, a file or a loaded model."""

import platform

import torch

from ..core.activations import total_ram
from ..kernels.machine import Machine, default_device, describe
from .footprint import Footprint
from .gpus import GIB, Gpu, named, of_device
from .placing import Room
from .rank import ranked

# what comes with ComfyUI, and with torch on Linux
LIBRARIES = {"Linux": frozenset(("comfy-kitchen", "triton"))}
ALWAYS = frozenset(("comfy-kitchen",))


def report(model: Footprint, gpu: str | None = None, ram_gb: float | None = None) -> dict:
    """{"model", "size", "machine", "vram" (None without a GPU), "ram", "activations", "timed", "stands_in", "advice":
    [fields of Advice, "fits", "weights_only"], best first, "notes": [sentences]}; sizes in bytes. gpu: a name, None for
    this machine. ram_gb: GB of 1024^3 bytes. Raises AdviceError for a GPU that is not known."""
    machine, row, vram = here() if gpu is None else described(named(gpu))
    ram = total_ram() if ram_gb is None else int(ram_gb * GIB)
    room = Room(vram, ram, dynamic=not machine.amd)
    return {
        "model": model.title,
        "size": str(model.size),
        "machine": str(machine),
        "vram": vram,
        "ram": ram,
        "activations": model.activations,
        "timed": row is not None,
        "stands_in": row.stands_in if row else "",
        "advice": [advice.as_data() for advice in ranked(model, machine, row, room)],
        "notes": [NO_GPU] if vram is None and gpu is None else [],
    }


NO_GPU = "No GPU was found, so this is for the CPU. For a card: --gpu NAME."


def described(gpu: Gpu) -> tuple[Machine, Gpu, int]:
    """A GPU that is not here, with what comes with ComfyUI."""
    system = platform.system()
    libraries = LIBRARIES.get(system, ALWAYS)
    return Machine("cuda", gpu.name, gpu.capability, system=system, libraries=libraries), gpu, gpu.vram


def here() -> tuple[Machine, Gpu | None, int | None]:
    """This machine: (machine, its row, bytes of VRAM); the row is None for a device that is not NVIDIA's."""
    device = default_device()
    machine = describe(device)
    if device.type != "cuda":
        return machine, None, None
    vram = torch.cuda.get_device_properties(device).total_memory
    return machine, of_device(machine.name, machine.capability, vram) if machine.nvidia else None, vram
