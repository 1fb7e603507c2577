"""How one linear is computed: one file per library, registered in order; registry.choose() picks.

A new kernel is one file here that registers its rows, and its name in the import below.
"""

from . import dequant, reference, torch_fp8, torch_int8
from .kernel import Kernel, Requirements
from .registry import KERNELS, Choice, NoKernelError, choose, survey, why_not

for _file in (torch_int8, torch_fp8, dequant, reference):
    KERNELS.extend(_file.ROWS)

__all__ = ["KERNELS", "Choice", "Kernel", "NoKernelError", "Requirements", "choose", "survey", "why_not"]
