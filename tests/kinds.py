"""What the kinds of files that the benchmarks write are to the pack."""

from pathlib import Path

import torch

from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.checkpoints.encodings import Encoding, find
from x2v_quant.checkpoints.tensor_info import START_BYTES, ZERO_POINTS, TensorInfo


def infos(layer: dict[str, torch.Tensor]) -> dict[str, TensorInfo]:
    """What headers say of the tensors of a layer."""
    file = Path("model.safetensors")
    return {
        end: TensorInfo(
            tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), tensor.nbytes, file, start=start(end, tensor)
        )
        for end, tensor in layer.items()
    }


def start(end: str, tensor: torch.Tensor) -> bytes:
    """What is read of a tensor with its header."""
    if not f".{end}".endswith(ZERO_POINTS):
        return b""
    return bytes(tensor.contiguous().view(torch.uint8).flatten()[:START_BYTES].tolist())


def encoding_of(kind: str) -> Encoding:
    """The row of ENCODINGS that reads a large layer of `kind`, a key of KINDS."""
    return find(infos(KINDS[kind](torch.ones(512, 512))), None).encoding
