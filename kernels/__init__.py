"""How one linear is computed: one file per library, registered in order; registry.choose() picks.

A new kernel is one file here that registers its rows, and its name in the import below.
"""

from . import (
    comfy_kitchen,
    convrot_w4a4,
    deepgemm,
    dequant,
    marlin,
    q8f,
    reference,
    sgl,
    torch_fp8,
    torch_int8,
    torch_w4a8,
    torchao,
    triton,
    vllm,
)
from .kernel import FAST, MEMORY, TESTS, Kernel, Requirements
from .libraries import LIBRARIES
from .outlook import UNTESTED, Outlook, ever_fast, in_words, missing_library, outlook, useful_libraries
from .registry import KERNELS, Choice, NoKernelError, choose, running, survey, why_not

for _file in (
    vllm,
    sgl,
    q8f,
    torchao,
    deepgemm,
    marlin,
    torch_int8,
    torch_w4a8,
    torch_fp8,
    comfy_kitchen,
    convrot_w4a4,
    triton,
    dequant,
    reference,
):
    KERNELS.extend(_file.ROWS)

__all__ = [
    "FAST",
    "KERNELS",
    "LIBRARIES",
    "MEMORY",
    "TESTS",
    "UNTESTED",
    "Choice",
    "Kernel",
    "NoKernelError",
    "Outlook",
    "Requirements",
    "choose",
    "ever_fast",
    "in_words",
    "missing_library",
    "outlook",
    "running",
    "survey",
    "useful_libraries",
    "why_not",
]
