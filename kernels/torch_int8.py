"""int8 W8A8 by torch's own matmul: per-token activations, torch._int_mm, scales and bias afterwards."""

import torch

from ..formats import ROTATED
from .declare import declare
from .kernel import Requirements
from .quantizers import rotated_tokens, tokens

# CPU: columns of one pass, and values of its epilogue for each thread: few enough to stay in cache, enough that threads
# seldom wait for each other; accumulators of one pass are at most 4 * CPU_ACCUMULATORS bytes, or FEWEST_COLUMNS
CPU_COLUMNS, CPU_VALUES, CPU_ACCUMULATORS, FEWEST_COLUMNS = 4096, 1 << 20, 1 << 26, 512
# GPU: torch._int_mm wants more than 16 rows; accumulators of one pass are at most 4 * GPU_ACCUMULATORS bytes
GPU_ROW_MULTIPLE, GPU_ACCUMULATORS = 32, 1 << 25


def int8_mm(quantized, weight, bias, dtype, out=None):
    """y = (xq @ codes^T) * x_scale * scale^T + bias, int32 accumulation, float32 epilogue. out: [M, N] to write to."""
    codes, token_scale = quantized
    rows, columns = codes.shape[0], weight.shape[0]
    out = torch.empty((rows, columns), dtype=dtype, device=codes.device) if out is None else out
    row_scale = weight.scale.view(1, -1)
    offset = torch.zeros_like(row_scale) if bias is None else bias.to(torch.float32).view(1, -1)
    if codes.device.type == "cpu":
        _in_passes(codes, token_scale, weight.codes, row_scale, offset, out)
        return out
    step = max(1, GPU_ACCUMULATORS // columns // GPU_ROW_MULTIPLE) * GPU_ROW_MULTIPLE
    for row in range(0, rows, step):
        block = slice(row, row + step)
        accumulators = torch._int_mm(codes[block], weight.codes.t())
        _epilogue(accumulators, token_scale[block], row_scale, offset, out[block])
    return out


def _in_passes(codes, token_scale, weight_codes, row_scale, offset, out):
    """int8_mm on a CPU, some columns at a time; every pass uses the same memory, which is faster than new memory."""
    rows, columns = out.shape
    step = min(columns, CPU_COLUMNS, max(FEWEST_COLUMNS, CPU_ACCUMULATORS // rows))
    accumulators = torch.empty(rows * step, dtype=torch.int32)
    block_rows = max(1, CPU_VALUES * torch.get_num_threads() // step)
    values = torch.empty(min(block_rows, rows) * step)
    for column in range(0, columns, step):
        part = slice(column, column + step)
        of_part = weight_codes[part].t()
        width = of_part.shape[1]
        products = accumulators[: rows * width].view(rows, width)
        torch._int_mm(codes, of_part, out=products)
        for row in range(0, rows, block_rows):
            block = slice(row, row + block_rows)
            some = products[block]
            scaled = torch.mul(some, token_scale[block], out=values[: some.numel()].view(some.shape))
            _add_offset(scaled, row_scale[:, part], offset[:, part], out[block, part])


def _epilogue(accumulators, token_scale, row_scale, offset, out):
    """out = accumulators * token_scale * row_scale + offset, in float32, rounded once."""
    _add_offset(accumulators * token_scale, row_scale, offset, out)


def _add_offset(values, row_scale, offset, out):
    """out = values * row_scale + offset in float32, rounded once; `values` are overwritten."""
    if out.dtype == torch.float32:
        torch.addcmul(offset, values, row_scale, out=out)
    else:
        out.copy_(torch.addcmul(offset, values, row_scale, out=values))


_SUMMARY = "int8 weights x int8 activations (per-token), int32 accumulation, torch._int_mm"

CPU = Requirements(kind="cpu", vnni=True)
GPU = Requirements(kind="cuda", min_capability=(7, 5), n_multiple=8, k_multiple=8)
# what each wants: how many rows of tokens are a multiple of
ROW_MULTIPLES = ((CPU, 1), (GPU, GPU_ROW_MULTIPLE))
ROWS = (
    *(
        kernel
        for requires, rows in ROW_MULTIPLES
        for kernel in declare(
            "torch", "int8-channel", _SUMMARY, requires, quantizer=tokens("int8", rows), product=int8_mm
        )
    ),
    *(
        kernel
        for requires, rows in ROW_MULTIPLES
        for group, name in ROTATED.items()
        for kernel in declare(
            "torch", name, f"{_SUMMARY}, rotated", requires, quantizer=rotated_tokens(group, rows), product=int8_mm
        )
    ),
)
