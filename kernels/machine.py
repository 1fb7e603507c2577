"""What a kernel has to know about the device it would run on."""

import functools
import platform
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Machine:
    """One device. `capability` is (major, minor) of an NVIDIA GPU, None elsewhere; `vnni`: the CPU multiplies int8 in
    hardware; `live` is the device to probe, None for a machine that is only described ("what would an RTX 3060 do");
    `libraries`: kernel libraries to take as installed, None looks at this process."""

    kind: str
    name: str
    capability: tuple[int, int] | None = None
    vnni: bool = False
    system: str = "Linux"
    live: torch.device | None = None
    libraries: frozenset[str] | None = None

    @property
    def nvidia(self) -> bool:
        return self.capability is not None

    @property
    def amd(self) -> bool:
        """A GPU that PyTorch drives by ROCm, under CUDA's name."""
        return self.kind == "cuda" and not self.nvidia

    def __str__(self) -> str:
        return (
            f"{self.name} (compute capability {self.capability[0]}.{self.capability[1]})" if self.nvidia else self.name
        )


@functools.cache
def describe(device: torch.device) -> Machine:
    """The Machine behind a torch device, read once per device."""
    system = platform.system()
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device) if torch.version.hip is None else None
        return Machine("cuda", torch.cuda.get_device_name(device), capability, system=system, live=device)
    if device.type == "cpu":
        return Machine("cpu", _cpu_name(), vnni=_cpu_has_vnni(), system=system, live=device)
    return Machine(device.type, device.type, system=system, live=device)


def default_device() -> torch.device:
    """The device a report is about when no model names one."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def _cpu_name() -> str:
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return f"CPU ({flags.get('cpu_name') or platform.machine()})"


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32: with AMX, or with AMD's AVX512-BF16. Intel's without
    AMX takes 1.75 times as long for it as for float32 (torch 2.11, Sapphire Rapids)."""
    if not hasattr(torch.cpu, "get_capabilities"):
        return torch.cpu._is_amx_tile_supported()
    return _cpu_has("amx_bf16") or (_cpu_has("avx512_bf16") and "AMD" in _cpu_name())


def _cpu_has_vnni() -> bool:
    if hasattr(torch.cpu, "get_capabilities"):
        return _cpu_has("avx512_vnni", "avx_vnni", "i8mm")
    return torch.cpu._is_vnni_supported()


def _cpu_has(*names: str) -> bool:
    flags = torch.cpu.get_capabilities()
    return any(flags.get(name) for name in names)
