"""fp8 W8A8 by torch's own matmuls: torch._scaled_mm, and torch.nn.functional.scaled_mm for blocks.

Row-wise scaling is cuBLAS's at compute capability 9.0 and CUTLASS's elsewhere, which torch builds for Linux alone
(ScaledBlas.cpp, RowwiseScaledMM.cu) and not for every RTX 50, so the probe decides. Tensor-wise scaling with unit
scales works on every GPU with fp8; the real scales are then applied afterwards. Scales of blocks are cuBLAS's, on
Hopper alone.
"""

import torch

from ..formats.fp8_block128 import BLOCK
from .declare import declare
from .kernel import Requirements
from .quantizers import STATIC, token_groups, tokens

# tensor-wise: outputs of one pass, whose float32 epilogue takes 4 bytes each; passes are whole tiles of rows
TENSORWISE_VALUES, ROW_MULTIPLE = 1 << 25, 128
# blocks: cuBLAS reads scales four at a time
SCALE_ROWS = 4
# Row-wise CUTLASS is far slower without fast accumulation (measured on an H100: pytorch issue 147971, torchao pull
# request 1325), and Triton, vLLM and sgl-kernel sum that way too. cuBLAS's tensor-wise product keeps exact sums: there
# the flag only promises speed "at the cost of lower accuracy" on Ada and Hopper (cuBLAS's documentation).
ROWWISE_FAST_ACCUM = True
# the one type, of bias and product, that torch multiplies with a scale for each row into
ROWWISE_OUTPUT = torch.bfloat16


def rowwise_mm(quantized, weight, bias, dtype):
    """K and N multiples of 16. The product is rounded to bfloat16."""
    codes, token_scale = quantized
    y = torch._scaled_mm(
        codes,
        weight.codes.t(),
        scale_a=token_scale,
        scale_b=weight.scale.view(1, -1),
        bias=None if bias is None else bias.to(ROWWISE_OUTPUT),
        out_dtype=ROWWISE_OUTPUT,
        use_fast_accum=ROWWISE_FAST_ACCUM,
    )
    return y.to(dtype)


def tensorwise_mm(quantized, weight, bias, dtype):
    """K and N multiples of 16. Both scales are applied afterwards, in float32; the product leaves the matmul in
    bfloat16, for a float32 `dtype` in float32: it reaches millions, which float16 cannot hold."""
    codes, token_scale = quantized
    one = torch.ones((), dtype=torch.float32, device=codes.device)
    raw_dtype = torch.float32 if dtype == torch.float32 else torch.bfloat16
    row_scale = weight.scale.view(1, -1)
    offset = torch.zeros_like(row_scale) if bias is None else bias.to(torch.float32).view(1, -1)
    out = torch.empty((codes.shape[0], weight.shape[0]), dtype=dtype, device=codes.device)
    step = max(1, TENSORWISE_VALUES // weight.shape[0] // ROW_MULTIPLE) * ROW_MULTIPLE
    for row in range(0, out.shape[0], step):
        part = slice(row, row + step)
        raw = torch._scaled_mm(codes[part], weight.codes.t(), scale_a=one, scale_b=one, out_dtype=raw_dtype)
        out[part] = torch.addcmul(offset, raw * token_scale[part], row_scale)
    return out


def tensor_mm(quantized, weight, bias, dtype):
    """K and N multiples of 16; weight.scale float32 [1, 1] or [N, 1], one scale of all activations."""
    codes, token_scale = quantized
    if weight.scale.numel() > 1:
        return tensorwise_mm((codes, token_scale.view(1, 1).expand(codes.shape[0], 1)), weight, bias, dtype)
    # torch fuses a 16-bit bias into a 16-bit output only
    fused = bias is not None and dtype != torch.float32
    y = torch._scaled_mm(
        codes,
        weight.codes.t(),
        scale_a=token_scale.view(()),
        scale_b=weight.scale.view(()),
        bias=bias.to(dtype) if fused else None,
        out_dtype=dtype,
    )
    return y if bias is None or fused else y.add_(bias)


def block_mm(quantized, weight, bias, dtype):
    """K and N multiples of 128. The scales go to cuBLAS with channels innermost: of tokens [M, K / 128] with strides
    (1, M), of blocks [K / 128 rounded up to 4, N / 128] column-major; rows of tokens come in fours (ScaledBlas.cpp)."""
    codes, token_scale = quantized
    scaling = torch.nn.functional.ScalingType
    y = torch.nn.functional.scaled_mm(
        codes,
        weight.codes.t(),
        token_scale,
        scaling.BlockWise1x128,
        torch.nn.functional.pad(weight.scale, (0, -weight.scale.shape[1] % SCALE_ROWS)).t(),
        scaling.BlockWise128x128,
        output_dtype=torch.bfloat16 if dtype == torch.bfloat16 else torch.float32,
    )
    return (y if bias is None else y.add_(bias)).to(dtype)


def _gpu(first=(8, 9), last=None, systems=()) -> Requirements:
    return Requirements("cuda", True, first, last, systems, n_multiple=16, k_multiple=16)


# scheme names, and winners that were saved, say "torch" for both
BOTH = "torch"
ROWS = (
    # of two rows with one name the later's reason is told, so the one with the wider claim comes last
    *(
        kernel
        for requires in (_gpu((9, 0), (9, 0)), _gpu(systems=("Linux",)))
        for kernel in declare(
            "torch-rowwise",
            "fp8-channel",
            "fp8 weights x fp8 activations (per-token), row-wise torch._scaled_mm",
            requires,
            quantizer=tokens("fp8"),
            product=rowwise_mm,
            alias=BOTH,
        )
    ),
    *declare(
        "torch-tensorwise",
        "fp8-channel",
        "fp8 weights x fp8 activations (per-token), tensor-wise torch._scaled_mm",
        _gpu(),
        quantizer=tokens("fp8"),
        product=tensorwise_mm,
        alias=BOTH,
    ),
    *declare(
        "torch",
        "fp8-tensor",
        "fp8 weights x fp8 activations (one static scale), tensor-wise torch._scaled_mm",
        _gpu(),
        quantizer=STATIC,
        product=tensor_mm,
    ),
    *declare(
        "torch",
        "fp8-block128",
        "fp8 weights (128 x 128) x fp8 activations (per token and 128 channels), torch's scaled_mm",
        Requirements(
            "cuda",
            nvidia=True,
            min_capability=(9, 0),
            max_capability=(9, 0),
            n_multiple=BLOCK,
            k_multiple=BLOCK,
        ),
        quantizer=token_groups(SCALE_ROWS),
        product=block_mm,
    ),
)
