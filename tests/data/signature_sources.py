"""Which functions of which releases record_signatures.py writes down: a row per library."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Wheel:
    """`operators`: names to look for in the `objects` (the parts of the path before the suffix); `functions`: Python
    file -> names defined in it; `bound`: extension module -> names whose docstring pybind wrote. What a release does
    not have is left out of the record."""

    package: str
    version: str
    objects: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    functions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    bound: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sdist:
    """`functions`: Python file -> names defined in it. One that does not build is read all the same."""

    package: str
    version: str
    functions: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Repository:
    """`functions`, `bindings` (C++ definitions), `arguments` (pybind's py::arg): file -> names."""

    name: str
    revision: str
    functions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    bindings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    arguments: dict[str, tuple[str, ...]] = field(default_factory=dict)


VLLM_OPERATORS = (
    "cutlass_scaled_mm",
    "dynamic_per_token_scaled_fp8_quant",
    "dynamic_scaled_int8_quant",
    "per_token_group_fp8_quant",
    "marlin_gemm",
    "gptq_marlin_gemm",
)
SGL_OPERATORS = (
    "fp8_scaled_mm",
    "int8_scaled_mm",
    "fp8_blockwise_scaled_mm",
    "sgl_per_token_quant_fp8",
    "sgl_per_token_group_quant_8bit",
    "gptq_marlin_gemm",
)
TORCHAO_FUNCTIONS = ("_quant_int8_per_token_matmul", "quant_int8_per_token_matmul")
KITCHEN_FUNCTIONS = (
    "int8_linear",
    "quantize_int8_rowwise",
    "quantize_mxfp8",
    "scaled_mm_mxfp8",
    "quantize_nvfp4",
    "scaled_mm_nvfp4",
)
DEEP_GEMM = "vllm/third_party/deep_gemm"


def _vllm(version: str) -> Wheel:
    return Wheel("vllm", version, ("vllm/_C", "vllm/_C_stable_libtorch"), VLLM_OPERATORS)


def _sgl(package: str, version: str) -> Wheel:
    return Wheel(package, version, ("sgl_kernel/sm90/common_ops", "sgl_kernel/sm100/common_ops"), SGL_OPERATORS)


SOURCES: dict[str, tuple[Wheel | Sdist | Repository, ...]] = {
    "vllm": tuple(_vllm(v) for v in ("0.10.0", "0.11.0", "0.14.1", "0.19.1", "0.24.0", "0.26.0", "0.30.0", "0.33.0")),
    "sgl-kernel": (
        _sgl("sgl-kernel", "0.3.21"),
        *(_sgl("sglang-kernel", v) for v in ("0.4.1.post1", "0.4.4", "0.4.5", "0.4.10")),
    ),
    "torchao": tuple(
        Wheel("torchao", v, functions={"torchao/quantization/utils.py": TORCHAO_FUNCTIONS})
        for v in ("0.11.0", "0.13.0", "0.18.0")
    ),
    "deep-gemm": (
        Sdist("deep-gemm", "1.0.0", {"deep_gemm/jit_kernels/gemm.py": ("gemm_fp8_fp8_bf16_nt",)}),
        Repository(
            "deepseek-ai/DeepGEMM",
            "03d0be3d2d03b6eed3c99d683c0620949a13a826",
            functions={"deep_gemm/jit_kernels/gemm.py": ("gemm_fp8_fp8_bf16_nt",)},
        ),
        Repository("deepseek-ai/DeepGEMM", "v2.1.1.post3", arguments={"csrc/apis/gemm.hpp": ("fp8_gemm_nt",)}),
        Wheel("sgl-kernel", "0.3.21", ("deep_gemm/deep_gemm_cpp",), ("fp8_gemm_nt",)),
        Wheel("vllm", "0.26.0", bound={f"{DEEP_GEMM}/_C": ("fp8_gemm_nt",)}),
        Wheel("vllm", "0.33.0", functions={f"{DEEP_GEMM}/_C.py": ("fp8_gemm_nt",)}),
    ),
    "q8-kernels": (
        Repository(
            "KONAKONA666/q8_kernels",
            "9cee3f3d4ca5ec8ab463179be32c8001e31f8f33",
            bindings={"csrc/gemm/q8_gemm_api.cpp": ("q8_mm", "q8_mm_bias", "fp8_mm", "fp8_mm_bias")},
        ),
    ),
    "marlin": (
        Repository(
            "IST-DASLab/marlin", "2f6d7c10e124b3c5fa29ff8d77d568bd7af3274c", functions={"marlin/__init__.py": ("mul",)}
        ),
    ),
    "comfy-kitchen": tuple(
        Wheel(
            "comfy-kitchen",
            v,
            functions={
                "comfy_kitchen/__init__.py": KITCHEN_FUNCTIONS,
                "comfy_kitchen/tensor/w4a8_int8.py": ("w4a8_int8_linear",),
            },
        )
        for v in ("0.2.10", "0.2.18", "0.2.26", "0.2.40")
    ),
}
