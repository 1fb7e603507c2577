"""Calibrations that were never recorded, are damaged, or are another model's."""

import torch

from x2v_quant.calibration.files import FORMAT, INPUTS, MAXIMA, SHARED, SQUARES, TOKENS

from .case import ErrorCase, linked, node
from .graphs import behind, dense, ours, sampled
from .place import Place, demo

LOAD, QUANTIZE, FINISH = "X2VLoadCalibration", "X2VQuantizeModel", "X2VFinishCalibration"
HEADER = {"format": FORMAT, "calls": "1"}
OTHER_MODEL = "it was recorded on another model. Calibrate this one."
LAYER = "blocks.0.ffn.0"
GONE = "calibration/gone.safetensors"
THERE_IS_NO = (
    f"The calibration {GONE} is not in ComfyUI's output or input folder. Pick one from the list, or make one with "
    "Calibrate and Finish Calibration."
)


def maxima(**layers: int) -> tuple:
    """A calibration that has seen so many channels of each layer; `__` for a dot."""
    return {f"{name.replace('__', '.')}{MAXIMA}": torch.ones(count) for name, count in layers.items()}, HEADER


def with_inputs(inputs: torch.Tensor, shared: str = "{}") -> tuple:
    """A calibration of one layer, 4 channels wide, with these inputs. shared: the JSON of what else shares them."""
    return {f"{LAYER}{MAXIMA}": torch.ones(4), f"{LAYER}{INPUTS}": inputs}, {**HEADER, SHARED: shared}


def statistics() -> dict[str, torch.Tensor]:
    """Of one layer, 4 channels wide."""
    return {f"{LAYER}{end}": torch.ones(4) for end in (MAXIMA, SQUARES)}


def loading(node_class: str, content, *words: str, **inputs) -> ErrorCase:
    """Quantize Model with a calibration file. inputs: more of Quantize Model's."""

    def make(place: Place):
        name = place.input(f"calibration/{place.name}.safetensors", content)
        prompt = behind(dense(), QUANTIZE, format="int8-channel", calibration=["calibration", 0], **inputs)
        return {"calibration": node(LOAD, calibration_name=name), **prompt}

    return ErrorCase(node_class, make, words)


def recorded(model: dict, place: Place, sampler: str = "calibrated", steps: int = 1):
    """Finish Calibration behind a sampler that runs with what the node `sampler` gives."""
    prompt = {**model, "calibrated": node("X2VCalibrate", model=["model", 0])}
    prompt = sampled(prompt, sampler, steps=steps, seed=3)
    prompt["finish"] = node(FINISH, recording=["calibrated", 1], latent=["sampler", 0], filename_prefix="")
    return prompt


def overflowing(tensors: dict[str, torch.Tensor]) -> None:
    tensors[f"{LAYER}.bias"][0] = float("inf")


def gone(place: Place):
    return {
        "calibration": node(LOAD, calibration_name=GONE),
        **behind(dense(), QUANTIZE, format="int8-channel", calibration=["calibration", 0]),
    }


CASES = {
    "nothing sampled": ErrorCase(
        FINISH,
        lambda place: recorded(ours(), place, sampler="model"),
        (
            "The calibration is empty: nothing was sampled with the calibrated model before. Connect it to a KSampler "
            "that runs first.",
        ),
    ),
    "overflow": ErrorCase(
        FINISH,
        lambda place: recorded(
            dense(place.put("diffusion_models", "model.safetensors", demo("t2v", overflowing, "bf16"))), place
        ),
        (
            "Layer ",
            "got an input that is infinite or not a number while the model was calibrated",
            "Calibrate in bf16 or ",
        ),
    ),
    "file": loading(LOAD, b"no safetensors", ".safetensors is no calibration: ", "Pick a file that was saved as one."),
    "another file": loading(
        LOAD, {"a": torch.zeros(1)}, ".safetensors is no calibration. Pick a file that was saved as one."
    ),
    "shapes": loading(
        LOAD,
        ({f"{LAYER}{MAXIMA}": torch.ones(4), f"{LAYER}{SQUARES}": torch.ones(5)}, HEADER),
        f".safetensors: {LAYER} has maxima of shape [4] that do not go with what is beside them. The file is damaged:",
        "save it again.",
    ),
    "squares of nothing": loading(
        LOAD,
        ({f"{LAYER}{SQUARES}": torch.ones(4), f"{LAYER}{TOKENS}": torch.tensor(1)}, HEADER),
        f".safetensors: {LAYER}.squares is there of layer {LAYER}, which has no maxima. The file is damaged: save it",
    ),
    "no number": loading(
        LOAD,
        ({f"{LAYER}{MAXIMA}": torch.full((4,), float("nan"))}, HEADER),
        f".safetensors: {LAYER}.maxima has a value that is negative or not a number. The file is damaged: save it",
    ),
    "no tokens": loading(
        LOAD,
        ({**statistics(), f"{LAYER}{TOKENS}": torch.tensor(0)}, HEADER),
        f".safetensors: {LAYER}.tokens is 0, which is no number of tokens. The file is damaged: save it again.",
    ),
    "whole numbers": loading(
        LOAD,
        (
            {
                **statistics(),
                f"{LAYER}{SQUARES}": torch.ones(4, dtype=torch.int32),
                f"{LAYER}{TOKENS}": torch.tensor(1),
            },
            HEADER,
        ),
        f".safetensors: {LAYER}.squares is int32, not floating-point numbers. The file is damaged: save it again.",
    ),
    "several numbers of tokens": loading(
        LOAD,
        ({**statistics(), f"{LAYER}{TOKENS}": torch.ones(2)}, HEADER),
        f".safetensors: {LAYER}.tokens is float32 of shape [2], not one whole number. The file is damaged: save it",
    ),
    "inputs of nothing": loading(
        LOAD,
        ({f"{LAYER}{INPUTS}": torch.ones((2, 4), dtype=torch.bfloat16)}, HEADER),
        f".safetensors: inputs are there of layer {LAYER}, which has no maxima. The file is damaged: save it again.",
    ),
    "inputs": loading(
        LOAD,
        with_inputs(torch.ones((2, 5), dtype=torch.bfloat16)),
        f".safetensors: {LAYER} has inputs of shape [2, 5] that are not 16-bit rows of 4 channels.",
        "The file is damaged: save it again.",
    ),
    "inputs' type": loading(
        LOAD,
        with_inputs(torch.ones((2, 4))),
        f".safetensors: {LAYER} has inputs of shape [2, 4] that are not 16-bit rows of 4 channels.",
        "The file is damaged: save it again.",
    ),
    "inputs of another layer": loading(
        LOAD,
        with_inputs(torch.ones((2, 4), dtype=torch.bfloat16), '{"blocks.0.ffn.0": "blocks.9.ffn.0"}'),
        f".safetensors: {LAYER} shares the inputs of a layer that has none. The file is damaged: save it again.",
    ),
    "shared inputs": loading(
        LOAD,
        with_inputs(torch.ones((2, 4), dtype=torch.bfloat16), "{"),
        ".safetensors: which layers share inputs cannot be read in its metadata. The file is damaged: save it again.",
    ),
    "gone, linked": ErrorCase(
        LOAD, lambda place: linked(gone(place), "calibration", "calibration_name", GONE), (THERE_IS_NO,)
    ),
    "gone": ErrorCase(LOAD, gone, (THERE_IS_NO,), early=True),
    "names": loading(
        QUANTIZE,
        maxima(layers__0__q=8),
        f"The calibration knows none of the model's layers, blocks.0.self_attn.q for instance: {OTHER_MODEL}",
    ),
    "width": loading(
        QUANTIZE,
        maxima(blocks__0__ffn__0=8),
        f"The calibration saw 8 input channels of layer {LAYER}, which has 128: {OTHER_MODEL}",
    ),
    "no norm's layers": loading(
        QUANTIZE,
        maxima(blocks__0__cross_attn__o=128),
        "The calibration knows none of the model's layers, blocks.0.self_attn.",
        OTHER_MODEL,
        smoothing="lightx2v",
    ),
}
