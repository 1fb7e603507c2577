"""Sentences for values that are not in a node's list: a missing file, or a word that the server does not know."""

from collections.abc import Iterator, Mapping
from typing import Any

from .workflow_error import near

NOT_LISTED = "value_not_in_list"
OWN_CHECK = "custom_validation_failed"  # its details: INPUT - SENTENCE
SHOWN = 8  # words of a list
INPUT = "ComfyUI's input folder"
# of core's nodes; ours say it themselves. (class, input) -> where its files are, where the input's name leaves it open
OF_NODES = {
    ("CLIPVisionLoader", "clip_name"): "models/clip_vision",
    ("UpscaleModelLoader", "model_name"): "models/upscale_models",
}
OF_INPUTS = {
    "unet_name": "models/diffusion_models",
    **{f"clip_name{number}": "models/text_encoders" for number in ("", 1, 2, 3, 4)},
    "vae_name": "models/vae",
    "lora_name": "models/loras",
    "ckpt_name": "models/checkpoints",
    "control_net_name": "models/controlnet",
    "style_model_name": "models/style_models",
    "audio_encoder_name": "models/audio_encoders",
    **dict.fromkeys(("image", "video", "audio", "file"), INPUT),
}


def explained(kind: str, error: Mapping[str, Any], value: Any, downloads: Mapping[str, tuple[str, str]]) -> str:
    """A sentence for an error of a node of the class `kind`, "" for one that is explained nowhere. value: of the input.
    downloads: see `downloads_in`."""
    extra = error.get("extra_info")
    name = extra.get("input_name") if isinstance(extra, Mapping) else None
    if error.get("type") not in (NOT_LISTED, OWN_CHECK) or not isinstance(name, str) or not isinstance(value, str):
        return ""
    details = str(error.get("details"))
    # a node's own check names the file, whichever input it complains of
    file = next((name for name in downloads if name == value or f" - {name} is not in " in details), None)
    if file is not None:
        folder, url = downloads[file]
        return f"Missing: {file}. Put it into {folder}{f' (download: {url})' if url else ''}."
    folder = OF_NODES.get((kind, name)) or OF_INPUTS.get(name)
    listed = error["type"] == NOT_LISTED
    if folder is not None and "." in value and (listed or folder == INPUT):
        return f"Missing: {value}. Put it into {folder}."
    return _unknown(name, value, extra.get("input_config")) if listed else ""


def downloads_in(workflow: Any) -> dict[str, tuple[str, str]]:
    """File -> (folder, address) of the models that a saved workflow lists, in subgraphs too."""
    return {
        model["name"]: (f"models/{model['directory']}", model["url"] if isinstance(model.get("url"), str) else "")
        for node in _nodes(workflow)
        for model in _list(_mapping(node.get("properties")).get("models"))
        if isinstance(model, Mapping) and isinstance(model.get("name"), str) and isinstance(model.get("directory"), str)
    }


def _nodes(workflow: Any) -> Iterator[Mapping[str, Any]]:
    top = _mapping(workflow)
    for graph in (top, *_list(_mapping(top.get("definitions")).get("subgraphs"))):
        yield from (node for node in _list(_mapping(graph).get("nodes")) if isinstance(node, Mapping))


def _unknown(name: str, value: str, spec: Any) -> str:
    """spec: the input's in /object_info; core leaves a long one out."""
    words = _choices(spec)
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    known = f" It takes {', '.join(words[:SHOWN])}{more}" if words else ""
    text = f"{name} has no {value!r} here.{known}{near(value, words) if words else ''}"
    return text if text.endswith("?") else text.rstrip(".") + "."


def _choices(spec: Any) -> list[str]:
    first, *rest = _list(spec) or [None]
    found = first if isinstance(first, list) else _mapping(rest[0] if rest else None).get("options")
    return [word for word in _list(found) if isinstance(word, str)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
