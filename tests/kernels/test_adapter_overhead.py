"""What an adapter costs beside the library's own calls, at the sizes of Wan 2.1 14B. On a GPU with the library."""

import pytest
import torch

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import KERNELS
from x2v_quant.kernels.machine import default_device, describe

TOKENS, N, K = 32760, 5120, 5120
RUNS, ALLOWED = 15, 1.03


def vllm(quantizer):
    def call(x, codes, scale, bias):
        quantized, token_scale = torch.empty_like(x, dtype=codes.dtype), x.new_empty((len(x), 1), dtype=torch.float32)
        getattr(torch.ops._C, quantizer)(quantized, x, token_scale, None)
        out = x.new_empty((len(x), len(codes)))
        torch.ops._C.cutlass_scaled_mm(out, quantized, codes.t(), token_scale, scale, bias)
        return out

    return call


def sgl_fp8(x, codes, scale, bias):
    quantized, token_scale = torch.empty_like(x, dtype=codes.dtype), x.new_empty((len(x), 1), dtype=torch.float32)
    torch.ops.sgl_kernel.sgl_per_token_quant_fp8(x, quantized, token_scale)
    return torch.ops.sgl_kernel.fp8_scaled_mm(quantized, codes.t(), token_scale, scale, x.dtype, bias)


BARE = {
    ("vllm", "fp8-channel"): vllm("dynamic_per_token_scaled_fp8_quant"),
    ("vllm", "int8-channel"): vllm("dynamic_scaled_int8_quant"),
    ("sgl", "fp8-channel"): sgl_fp8,
}


def milliseconds(*functions):
    """Medians of runs that take turns."""
    times = [[] for _ in functions]
    for run in range(RUNS + 3):
        for function, taken in zip(functions, times, strict=True):
            start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            function()
            stop.record()
            stop.synchronize()
            if run >= 3:
                taken.append(start.elapsed_time(stop))
    return [sorted(taken)[RUNS // 2] for taken in times]


@pytest.mark.gpu
@pytest.mark.parametrize("name,format_name", BARE)
def test_an_adapter_costs_next_to_nothing(name, format_name):
    kernel = next(k for k in KERNELS if k.name == name and format_name == k.format)
    device = default_device()
    reason = kernel.requires.unmet(describe(device), (N, K), torch.bfloat16)
    if reason:
        pytest.skip(reason)
    with torch.inference_mode():
        stored = FORMATS[format_name].quantize(torch.randn((N, K), device=device), torch.bfloat16)
        x = torch.randn((TOKENS, K), device=device, dtype=torch.bfloat16)
        bias = torch.randn(N, device=device, dtype=torch.bfloat16)
        codes, params = stored._qdata, stored._params
        ours, bare = milliseconds(
            lambda: kernel.linear(x, codes, params, bias),
            lambda: BARE[name, format_name](x, codes, params.scale, bias),
        )
    assert ours <= ALLOWED * bare
