"""x2v-quant convert --keep-as with a type that the values do not fit in."""

import torch

from .cli_case import MODEL, convert
from .place import demo

NORM = "blocks.0.norm3.weight"


def filled(value: float):
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[NORM].fill_(value)

    return demo("t2v", change, "bf16")


CLI_CASES = {
    "convert: a kept value too large": convert(
        filled(70000.0),
        "--format|int8|--keep-as|fp16",
        f"{MODEL}: {NORM} contains 70144, which float16 does not reach. Keep it in another type: --keep-as bf16",
    ),
    "convert: kept values too small": convert(
        filled(1e-20),
        "--format|int8|--keep-as|fp16",
        f"{MODEL}: {NORM} contains only values that float16 rounds to zero. Keep it in another type: --keep-as bf16",
    ),
}
