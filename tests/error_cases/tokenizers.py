"""Text encoders whose tokenizer is not there or is another one's."""

import json
from pathlib import Path

import torch

from x2v_quant.benchmarks import encoders
from x2v_quant.demo import assets

from .case import ErrorCase, linked, loaded
from .configurations import LOADABLE, config
from .place import Place, demo, without

ENCODER = "model.pth"
SPIECE = "spiece.model"
NOWHERE = Path("/nowhere/spiece.model")


def picked(
    tokenizer: str | None, content, *words: str, own: torch.Tensor | None = None, linux: bool = False
) -> ErrorCase:
    """The demo's text encoder with this file picked as its tokenizer; None: with none. own: what it carries."""

    def change(tensors: dict[str, torch.Tensor]) -> None:
        without(assets.TOKENIZER)(tensors)
        tensors.update({} if own is None else {assets.TOKENIZER: own})

    def make(place: Place):
        name = place.put("text_encoders", f"deep/{ENCODER}", demo("t5", change))
        if tokenizer is None:
            return loaded("X2VLoadT5", name)
        return loaded("X2VLoadT5", name, tokenizer=place.put("text_encoders", tokenizer, content))

    return ErrorCase("X2VLoadT5", make, words, linux=linux)


def gone(place: Place):
    name = place.put("text_encoders", ENCODER, demo("t5"))
    return linked(loaded("X2VLoadT5", name), "load", "tokenizer", "gone/spiece.model")


def folder_without_one(place: Place):
    """Named by a LightX2V configuration: the node lists no such folder."""
    encoder = place.put("text_encoders", f"deep/{ENCODER}", demo("t5", without(assets.TOKENIZER)))
    place.put("text_encoders", "empty/notes.txt", "hello")
    names = {"t5_quantized": True, "t5_quantized_ckpt": encoder, "t5_tokenizer_path": place.named("empty")}
    return config(text=json.dumps({**LOADABLE, **names}), text_encoder=True)


CASES = {
    "none": picked(
        None,
        None,
        f"{ENCODER} has no tokenizer. Download spiece.model of google/umt5-xxl and save it as ",
        "spiece.model, or load ComfyUI's umt5_xxl_fp8_e4m3fn_scaled.safetensors, which has one.",
    ),
    "broken own": picked(
        None,
        None,
        f"{ENCODER} has a tokenizer that is empty. Download spiece.model of google",
        own=torch.zeros(0, dtype=torch.uint8),
    ),
    "file without one": picked(
        "t5.safetensors",
        demo("t5", without(assets.TOKENIZER)),
        "t5.safetensors has no tokenizer (key spiece_model). Pick another file.",
    ),
    "dead link": picked(
        "dead.model",
        NOWHERE,
        "There is no tokenizer at ",
        "dead.model. Pick a spiece.model file or a folder that has one.",
        linux=True,
    ),
    "dead link to a model": picked(
        "dead.safetensors", NOWHERE, "dead.safetensors is a link that leads to no file. Pick another file.", linux=True
    ),
    "no tokenizer": picked(
        SPIECE,
        b"<html>not found</html>",
        f"The tokenizer in {SPIECE} is no sentencepiece model. Use {SPIECE} of google/umt5-xxl.",
    ),
    "another one's": picked(
        SPIECE,
        lambda place: encoders.tokenizer(["one two three four"] * 20, 15),
        f"The tokenizer in {SPIECE} has ",
        "they do not belong together. Use spiece.model of google/umt5-xxl.",
    ),
    "folder without one": ErrorCase(
        "X2VLoadConfig",
        folder_without_one,
        ("There is no tokenizer at ", "Pick a spiece.model file or a folder that has one."),
    ),
    "gone": ErrorCase(
        "X2VLoadT5",
        gone,
        ("gone/spiece.model is not in models/text_encoders. Download it there",),
    ),
}
