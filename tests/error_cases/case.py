"""One error case: a prompt that a node refuses, and what its message says. Builders of both."""

from collections.abc import Callable
from dataclasses import dataclass

from .place import Place

Prompt = dict[str, dict]
# class of a loader of ours -> (its folder of models, its input, the report's input for what it gives)
LOADERS = {
    "X2VLoadDiT": ("diffusion_models", "model_name", "model"),
    "X2VLoadT5": ("text_encoders", "text_encoder_name", "clip"),
    "X2VLoadCLIPVision": ("clip_vision", "clip_name", "clip_vision"),
}


@dataclass(frozen=True)
class ErrorCase:
    """`node`: the class that refuses. `make`: the prompt, once its files lie in the case's place. `words`: parts of the
    message in their order: file, key, cause, remedy. `early`: the prompt is refused before it is queued. `linux`:
    it takes a link, a file or words that only Linux has."""

    node: str
    make: Callable[[Place], Prompt]
    words: tuple[str, ...]
    early: bool = False
    linux: bool = False


def node(class_type: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs}


def loaded(loader: str, name: str, **inputs) -> Prompt:
    """A prompt that loads the model which `loader` calls `name`."""
    _, key, kind = LOADERS[loader]
    if loader == "X2VLoadT5":
        inputs = {"tokenizer": "auto", **inputs}
    return {
        "load": node(loader, **{key: name}, **inputs),
        "report": node("X2VKernelReport", **{kind: ["load", 0]}),
    }


def scheme(**inputs) -> dict:
    """Quantization Scheme with these inputs, the others as they are by default."""
    auto = {"dit": "auto", "t5": "auto", "clip": "auto", "compute_dtype": "auto"}
    return node("X2VScheme", **{**auto, "strict": False, "transcode": False, **inputs})


def file(
    content, *words: str, name: str = "model.safetensors", loader: str = "X2VLoadDiT", linux: bool = False
) -> ErrorCase:
    """A loader refuses a file. content: see Place.put."""

    def make(place: Place) -> Prompt:
        return loaded(loader, place.put(LOADERS[loader][0], name, content))

    return ErrorCase(loader, make, words, linux=linux)


def folder(files: dict, *words: str, pick: str = "", linux: bool = False) -> ErrorCase:
    """Load Quantized DiT refuses a folder of files, or the one that is picked of them."""

    def make(place: Place) -> Prompt:
        for name, content in files.items():
            place.put("diffusion_models", name, content)
        return loaded("X2VLoadDiT", place.named(pick))

    return ErrorCase("X2VLoadDiT", make, words, linux=linux)


def linked(prompt: Prompt, user: str, key: str, value: object) -> Prompt:
    """The input `key` of node `user` gets its value over a link, past core's list of what it may be."""
    kind = {str: "PrimitiveString", int: "PrimitiveInt", float: "PrimitiveFloat"}[type(value)]
    given = {**prompt[user]["inputs"], key: ["switch", 0]}
    return {
        **prompt,
        "value": node(kind, value=value),
        "switch": node("ComfySwitchNode", switch=False, on_false=["value", 0], on_true=["value", 0]),
        user: {**prompt[user], "inputs": given},
    }
