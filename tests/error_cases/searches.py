"""Errors of a search for formats, by size or by exactness, on the command line."""

from x2v_quant.benchmarks.wan import WanSize, dit

from .calibrations import LAYER
from .cli_case import MODEL, convert
from .place import demo


def nan(tensors) -> None:
    tensors[f"{LAYER}.weight"][3, 5] = float("nan")


CLI_CASES = {
    "convert: a candidate": convert(
        None,
        "--target-snr|30|--candidates|fp8|--dialect|comfyui",
        "fp8-channel is among the candidates, which the dialect comfyui does not have: choose from ",
        "or take the dialect x2v, which has every format.",
    ),
    "convert: no candidate": convert(
        dit(0, WanSize(dim=128, ffn=520, blocks=1), False),
        "--target-snr|30|--candidates|nvfp4|--layer|*attn* = keep",
        "No candidate can store any layer: blocks.0.ffn.0 cannot be nvfp4, for which ",
        "Allow other candidates.",
    ),
    "convert: a search in NaN": convert(
        demo("t2v", nan, "bf16"),
        "--target-snr|30|--candidates|int8",
        f"{MODEL}: {LAYER}.weight contains NaN, infinity or values near it. The model is damaged: download it again",
    ),
    "convert: too small": convert(
        None,
        "--target-size|0.0001|--candidates|int8",
        "The model does not fit into 100 kB: with these candidates it takes ",
        " MB. Ask for at least 0.00",
        " GB, or allow smaller formats.",
    ),
    "convert: small already": convert(
        None,
        "--target-size|1|--candidates|int8",
        "The model fits into 1.00 GB without being quantized. Ask for a smaller size.",
    ),
    "convert: too exact": convert(
        None,
        "--target-snr|200|--candidates|int8",
        "No format has an output SNR of 200 dB in any layer: the best is int8-channel with ",
        "Ask for less, or allow other candidates.",
    ),
}
