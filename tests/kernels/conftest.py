"""Releases of kernel libraries as their recorded signatures (tests/data/signatures) describe them.

An operator is defined with its recorded schema in a namespace of its own, so torch's dispatcher itself refuses what
does not match; a Python function's arguments are bound to its recorded parameters. Behind a signature stands what the
library documents of that function: its demands on dtypes, shapes and strides, and the formula of its result. So a call
that passes also multiplies the right tensors.
"""

import functools
import inspect
import itertools
from types import SimpleNamespace

import pytest
import torch

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import triton_tiles
from x2v_quant.kernels.activation import quantize_fp8, quantize_fp8_group128, quantize_int8

NUMBERS = itertools.count()
FP8 = torch.float8_e4m3fn
# the "scale_perm_single" of Marlin's authors, in which vLLM wants a bias
MARLIN_COLUMNS = [2 * i + j for i in range(4) for j in (0, 1, 8, 9, 16, 17, 24, 25)]


class Recorded:
    """A release as the adapters see it: `library.<name>` for every function of the record, with `changes` (name ->
    another signature) in place of what was recorded. `called`: names, in the order of the calls."""

    def __init__(self, release: dict, changes: dict[str, str] | None = None):
        self.called = []
        self.definitions = torch.library.Library(f"x2v_recorded_{next(NUMBERS)}", "FRAGMENT")
        self.operators = getattr(torch.ops, self.definitions.ns)
        for name, function in release["functions"].items():
            signature = (changes or {}).get(name) or function.get("schema") or function["parameters"]
            meaning = MEANINGS.get(name, functools.partial(self.not_called, name))
            if "schema" in function:
                self.define(name, signature, meaning)
            else:
                setattr(self, name, self.bound(name, signature, meaning))

    def __getattr__(self, name):
        return getattr(self.operators, name)

    def define(self, name, schema, meaning):
        self.definitions.define(schema)
        names = [argument.name for argument in getattr(self.operators, name).default._schema.arguments]

        def run(*values):
            self.called.append(name)
            return meaning(SimpleNamespace(**dict(itertools.zip_longest(names, values))))

        self.definitions.impl(name, run, "CompositeExplicitAutograd")

    def bound(self, name, parameters, meaning):
        # what a record holds are names and constants
        signature = inspect.signature(eval(f"lambda {parameters}: None"))

        def run(*args, **kwargs):
            self.called.append(name)
            given = signature.bind(*args, **kwargs)
            return meaning(SimpleNamespace(**{**dict.fromkeys(signature.parameters), **given.arguments}))

        return run

    @staticmethod
    def not_called(name, call):
        raise AssertionError(f"{name} is not called by an adapter")


def float32(tensor, shape):
    assert tensor.dtype == torch.float32
    assert tuple(tensor.shape) == shape


def columns_contiguous(scale):
    # a single row has no stride
    assert scale.stride(0) == 1 or scale.shape[0] == 1


def product(a, b, a_scale, b_scale):
    """a [M, K], b [K, N], the scales broadcast to them or hold one value for 128 x 128."""

    def scaled(codes, scale):
        groups = [1 if n in (1, size) else 128 for n, size in zip(scale.shape, codes.shape, strict=True)]
        for dim, group in enumerate(groups):
            scale = scale.repeat_interleave(group, dim=dim).narrow(
                dim, 0, min(codes.shape[dim], scale.shape[dim] * group)
            )
        return codes.to(torch.float32) * scale

    return scaled(a, a_scale) @ scaled(b, b_scale)


def with_bias(y, bias):
    return y if bias is None else y + bias.float()


def check_pair(a, b, dtypes):
    """What CUTLASS wants: a row-major without gaps, b the transposed view of [N, K], 16-byte rows."""
    assert a.dtype == b.dtype
    assert a.dtype in dtypes
    assert a.is_contiguous()
    assert b.stride(0) == 1
    assert b.stride(1) % 16 == a.shape[1] % 16 == 0


def cutlass_scaled_mm(call):
    check_pair(call.a, call.b, (torch.float8_e4m3fn, torch.int8))
    assert call.out.dtype in (torch.bfloat16, torch.float16)
    assert call.out.stride(0) % 16 == 0
    (m, k), n = call.a.shape, call.b.shape[1]
    a_scale, b_scale = call.a_scales, call.b_scales
    if a_scale.numel() == m and b_scale.numel() == n:
        assert a_scale.is_contiguous() and b_scale.is_contiguous()
        assert call.bias is None or (call.bias.dtype == call.out.dtype and call.bias.is_contiguous())
        a_scale, b_scale = a_scale.view(m, 1), b_scale.view(1, n)
    else:
        assert m % 4 == 0 and call.bias is None
        float32(a_scale, (m, k // 128))
        float32(b_scale, (k // 128, n // 128))
        columns_contiguous(a_scale)
        columns_contiguous(b_scale)
    call.out.copy_(with_bias(product(call.a, call.b, a_scale, b_scale), call.bias))


def quantizes(quantize, result, scale):
    """A per-token quantizer that writes into the arguments named `result` and `scale`."""

    def meaning(call):
        assert call.input.is_contiguous() and call.input.shape[0] > 0
        float32(getattr(call, scale), (call.input.shape[0], 1))
        codes, values = quantize(call.input)
        assert getattr(call, result).shape == codes.shape
        getattr(call, result).copy_(codes)
        getattr(call, scale).copy_(values)

    return meaning


def quantize_groups(call):
    assert call.input.is_contiguous() and call.output_q.is_contiguous() and call.input.shape[0] > 0
    assert (call.group_size, call.eps, call.fp8_min, call.fp8_max, call.scale_ue8m0) == (128, 1e-10, -448, 448, False)
    assert call.output_s.stride(0) < call.output_s.stride(1), "scales would be taken for row-major"
    codes, scale = quantize_fp8_group128(call.input)
    call.output_q.copy_(codes)
    call.output_s.copy_(scale)


def scaled_mm(*dtypes):
    def meaning(call):
        check_pair(call.mat_a, call.mat_b, dtypes)
        m, n = call.mat_a.shape[0], call.mat_b.shape[1]
        assert call.scales_a.numel() == m and call.scales_b.numel() == n
        assert call.scales_a.is_contiguous() and call.scales_b.is_contiguous()
        assert call.out_dtype in (torch.bfloat16, torch.float16)
        assert call.bias is None or (call.bias.dtype == call.out_dtype and call.bias.is_contiguous())
        y = product(call.mat_a, call.mat_b, call.scales_a.view(m, 1), call.scales_b.view(1, n))
        return with_bias(y, call.bias).to(call.out_dtype)

    return meaning


def blockwise_scaled_mm(call):
    check_pair(call.mat_a, call.mat_b, (torch.float8_e4m3fn,))
    columns_contiguous(call.scales_a)
    columns_contiguous(call.scales_b)
    return product(call.mat_a, call.mat_b, call.scales_a, call.scales_b).to(call.out_dtype)


def int8_per_token_matmul(call):
    assert call.x_vals_int8.dtype == call.w_vals_int8_t.dtype == torch.int8
    assert call.x_vals_int8.is_contiguous() and call.x_scales.is_contiguous()
    y = product(call.x_vals_int8, call.w_vals_int8_t, call.x_scales, call.w_scales)
    return y.to(call.output_dtype)


def q8_mm(dtype):
    def meaning(call):
        assert call.a.dtype == call.b.dtype == dtype, "16-bit activations would be rotated and quantized once more"
        for tensor in (call.a, call.b, call.a_scales, call.b_scales):
            assert tensor.is_contiguous()
        assert call.b.shape[0] % 128 == call.b.shape[1] % 64 == 0
        assert call.out_type_ == torch.bfloat16 and call.fuse_gelu is False
        bias = getattr(call, "bias", None)
        assert bias is None or bias.dtype == torch.float32
        y = product(call.a, call.b.t(), call.a_scales, call.b_scales.view(1, -1))
        return with_bias(y, bias).to(call.out_type_).unsqueeze(0)

    return meaning


def fp8_gemm_nt(call):
    # today's names of the arguments, or those of 1.x
    (a, a_scale), (b, b_scale), out = (call.a, call.b, call.d) if hasattr(call, "d") else (call.lhs, call.rhs, call.out)
    assert a.dtype == b.dtype == torch.float8_e4m3fn and out.dtype == torch.bfloat16
    assert a.stride(1) == b.stride(1) == 1 and out.is_contiguous()
    float32(a_scale, (a.shape[0], a.shape[1] // 128))
    float32(b_scale, (-(-b.shape[0] // 128), b.shape[1] // 128))
    columns_contiguous(a_scale)
    assert b_scale.is_contiguous()
    out.copy_(product(a, b.t(), a_scale, b_scale.t()))


def marlin_product(a, codes, scale):
    row = FORMATS["int4-g128-marlin"]
    shape = (codes.shape[1] // 2, codes.shape[0] * 16)
    weight = row.wrap({"codes": codes, "scale": scale.float()}, torch.float32, shape).dequantize()
    return a.float() @ weight.t()


def marlin_gemm(call):
    (number,) = [v for k, v in vars(call).items() if k in ("b_q_type", "b_q_type_id", "b_type_id")]
    assert number == 1125899907892224
    m, n, k = call.size_m, call.size_n, call.size_k
    assert tuple(call.a.shape) == (m, k) and call.a.is_contiguous()
    assert call.b_q_weight.dtype == torch.int32 and tuple(call.b_q_weight.shape) == (k // 16, 2 * n)
    assert call.b_scales.dtype == call.a.dtype and tuple(call.b_scales.shape) == (k // 128, n)
    assert call.workspace.dtype == torch.int32 and not call.workspace.any()
    assert call.use_fp32_reduce and not call.use_atomic_add and not call.is_zp_float
    assert getattr(call, "is_k_full", True)
    others = ("c_or_none", "a_scales", "global_scale", "b_zeros_or_none", "g_idx_or_none", "perm_or_none")
    assert all(getattr(call, name, None) is None for name in others)
    y = marlin_product(call.a, call.b_q_weight, call.b_scales)
    bias = getattr(call, "b_bias_or_none", None)
    if bias is not None:
        assert bias.dtype == call.a.dtype
        plain = torch.empty_like(bias).view(-1, len(MARLIN_COLUMNS))
        plain[:, MARLIN_COLUMNS] = bias.view(-1, len(MARLIN_COLUMNS))
        bias = plain.view(-1)
    return with_bias(y, bias).to(call.a.dtype)


def marlin_mul(call):
    assert call.A.dtype == call.C.dtype == call.s.dtype == torch.float16
    assert call.A.is_contiguous() and call.C.is_contiguous()
    assert call.workspace.numel() >= call.C.shape[1] // 128 * call.max_par and not call.workspace.any()
    assert call.max_par == 16
    call.C.copy_(marlin_product(call.A, call.B, call.s))


MEANINGS = {
    "cutlass_scaled_mm": cutlass_scaled_mm,
    "dynamic_per_token_scaled_fp8_quant": quantizes(quantize_fp8, "result", "scale"),
    "dynamic_scaled_int8_quant": quantizes(quantize_int8, "result", "scale"),
    "per_token_group_fp8_quant": quantize_groups,
    "fp8_scaled_mm": scaled_mm(FP8),
    "int8_scaled_mm": scaled_mm(torch.int8),
    "fp8_blockwise_scaled_mm": blockwise_scaled_mm,
    "sgl_per_token_quant_fp8": quantizes(quantize_fp8, "output_q", "output_s"),
    "sgl_per_token_group_quant_8bit": quantize_groups,
    "_quant_int8_per_token_matmul": int8_per_token_matmul,
    "quant_int8_per_token_matmul": int8_per_token_matmul,
    "q8_mm": q8_mm(torch.int8),
    "q8_mm_bias": q8_mm(torch.int8),
    "fp8_mm": q8_mm(FP8),
    "fp8_mm_bias": q8_mm(FP8),
    "fp8_gemm_nt": fp8_gemm_nt,
    "gemm_fp8_fp8_bf16_nt": fp8_gemm_nt,
    "gptq_marlin_gemm": marlin_gemm,
    "marlin_gemm": marlin_gemm,
    "mul": marlin_mul,
}


@pytest.fixture
def recorded():
    """recorded(release, changes) -> that release, to be given to an adapter; `changes`: see Recorded."""
    return Recorded


@pytest.fixture
def compiler(monkeypatch, tmp_path_factory):
    """compiler.use(capability), then call an op: `compiled` holds (kernel's name, what was compiled) per launch."""
    pytest.importorskip("triton", reason="triton is not installed: no wheel for this system")
    from compiled_triton import Compiler
    from triton import knobs
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    compiler = Compiler()
    launch = JITFunction.run

    def compile_only(self, *args, grid, warmup, **keywords):
        result = launch(self, *args, grid=grid, warmup=True, **keywords)
        compiler.compiled.append((self.fn.__name__, result))

    monkeypatch.setattr(knobs.cache, "dir", str(tmp_path_factory.getbasetemp() / "triton"))
    monkeypatch.setattr(driver, "_active", compiler)
    monkeypatch.setattr(JITFunction, "run", compile_only)
    monkeypatch.setattr(triton_tiles, "architecture", lambda device: compiler.architecture)
    return compiler
