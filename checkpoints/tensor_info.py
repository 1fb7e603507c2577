"""What is known of tensors before any is read."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

WEIGHT = ".weight"
# a text encoder's tokenizer, which its file may carry
SPIECE = "spiece_model"
# what codes become that no kernel multiplies: it has all values of int8 and fp8
UPCAST = torch.bfloat16
# of the tensors that tell a layer's format: ComfyUI's, and LightX2V's for rotated int8, the channels of a group
MARKER_SUFFIX, GROUP_SUFFIX = ".comfy_quant", ".convrot_groupsize"
MARKER_SUFFIXES = (GROUP_SUFFIX, MARKER_SUFFIX)
# zero points of GPTQ's files, whose first values tell whether a file is symmetric, and how many bytes are read of them
ZERO_POINTS, START_BYTES = ".qzeros", 64


@dataclass(frozen=True)
class TensorInfo:
    """`dtype` is torch's name without "torch.", or the file's own word if torch has no such type. `offset`: the byte of
    the file where the values begin, None in a PyTorch file. `start`: the first bytes of zero points (ZERO_POINTS), none
    of anything else."""

    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    file: Path
    offset: int | None = None
    start: bytes = b""


@dataclass
class Contents:
    """Of one file, or of all files of a folder. `markers`: the bytes of the tensors that MARKER_SUFFIXES end, empty
    for one that is too large to be a marker. `wrapper`: what stood before every name in the file and is taken off.
    `nested`: PyTorch files with more in them than the model's tensors, of which core's reader takes others or none.
    `aloud`: those of `notes` that whoever loads the model is told as well."""

    tensors: dict[str, TensorInfo] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    markers: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    aloud: list[str] = field(default_factory=list)
    wrapper: str = ""
    nested: set[Path] = field(default_factory=set)
