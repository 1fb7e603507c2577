"""Triton's compiler without a GPU: what stands in for the driver, and what the machine code says. Importing this needs
triton."""

import re
import subprocess

from triton import knobs
from triton.backends.compiler import GPUTarget

from x2v_quant.kernels.triton_tiles import architecture_of


class Compiler:
    """Stands in for triton's driver; every target is a device of its own, so that none answers for another."""

    def __init__(self):
        self.compiled = []
        self.use((8, 9))

    def use(self, capability):
        number = capability[0] * 10 + capability[1]
        self.target, self.architecture = GPUTarget("cuda", number, 32), architecture_of(capability)

    def use_amd(self, name, wave):
        self.target, self.architecture = GPUTarget("hip", name, wave), "amd"

    def get_current_device(self):
        return self.target.arch

    def get_current_stream(self, device):
        return 0

    def get_current_target(self):
        return self.target


def spilled(kernel, folder) -> int:
    """Bytes of stack that a thread uses, from the machine code."""
    file = folder / "kernel.cubin"
    file.write_bytes(kernel.asm["cubin"])
    command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", str(file)]
    usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"STACK:(\d+)", usage).group(1))
