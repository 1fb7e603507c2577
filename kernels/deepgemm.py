"""DeepGEMM: block-scaled fp8 on Hopper, from its own package or out of vLLM's."""

import importlib.util
import sys
from types import ModuleType

import torch

from .declare import declare
from .kernel import Requirements
from .libraries import LacksError, Library, register
from .quantizers import token_groups
from .shared_objects import folders

# today's name and that of 1.x, which LightX2V still calls; both take ((x, its scale), (weight, its scale), out)
FUNCTIONS = ("fp8_gemm_nt", "gemm_fp8_fp8_bf16_nt")
BUNDLED = "third_party/deep_gemm"


def load_function():
    """function((codes [M, K], scale [M, K / 128]), (codes [N, K], scale [N / 128, K / 128]), out [M, N] bfloat16)."""
    module = importlib.import_module("deep_gemm") if importlib.util.find_spec("deep_gemm") else _bundled()
    for name in FUNCTIONS:
        if hasattr(module, name):
            return getattr(module, name)
    raise LacksError(f"has neither {' nor '.join(FUNCTIONS)}")


def _bundled() -> ModuleType:
    """The copy in vLLM's package, imported by path: importing vllm.third_party would import vllm."""
    (file,) = _bundled_files()[:1]
    spec = importlib.util.spec_from_file_location("deep_gemm", file, submodule_search_locations=[str(file.parent)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _bundled_files():
    return [f for folder in folders("vllm") if (f := folder / BUNDLED / "__init__.py").is_file()]


class DeepGemm(Library):
    def found(self) -> bool:
        return super().found() or bool(_bundled_files())


DEEP_GEMM = register(
    DeepGemm(
        "deep-gemm",
        ("deep-gemm", "deep_gemm"),
        ("deep_gemm",),
        load_function,
        {
            "Linux": "pip install --no-deps vllm, which brings it from 0.20 on, or pip install --no-build-isolation "
            "git+https://github.com/deepseek-ai/DeepGEMM; the package index's deep-gemm 1.0.0 does not build"
        },
        "it compiles its kernels on this machine, so a CUDA toolkit with nvcc has to be there",
    )
)


def block_mm(quantized, weight, bias, dtype):
    """N a multiple of 64, K of 128; scale [ceil(N / 128), K / 128]."""
    codes, token_scale = quantized
    out = codes.new_empty((codes.shape[0], weight.shape[0]), dtype=dtype)
    DEEP_GEMM.loaded()((codes, token_scale), (weight.codes, weight.scale), out)
    return out if bias is None else out.add_(bias)


ROWS = declare(
    "deepgemm",
    "fp8-block128",
    "fp8 weights x fp8 activations (per token and 128 channels), DeepGEMM, compiled when a shape first comes",
    # on 10.x it cuts scales down to powers of two, which those of LightX2V's files are not
    Requirements(
        "cuda",
        nvidia=True,
        min_capability=(9, 0),
        max_capability=(9, 0),
        systems=("Linux",),
        library=DEEP_GEMM.name,
        dtypes=(torch.bfloat16,),
        n_multiple=64,
        k_multiple=128,
    ),
    quantizer=token_groups(),
    product=block_mm,
    bias_like_x=True,
)
