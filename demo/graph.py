"""The demo's workflows: as the frontend opens them, and as the server takes them with the files of one format."""

import json

from ..core.on_path import PACK
from ..headless.workflow import Prompt, override, to_prompt
from . import assets

WORKFLOWS = PACK / "workflows"
# task -> its template
TEMPLATES = {"t2v": "1 Try it, no download", "i2v": "1 Try picture to video, no download"}
TASKS = tuple(TEMPLATES)


def workflow(name: str) -> dict:
    """A template as the frontend opens it."""
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


def settings(kind: str, task: str) -> dict[str, object]:
    """Which files a workflow's loaders take, as overrides. kind: "int8", "fp8" or "bf16"; task: "t2v" or "i2v"."""
    files = assets.names(kind)
    changes: dict[str, object] = {
        "X2VLoadDiT.model_name": getattr(files, task),
        "X2VLoadT5.text_encoder_name": files.t5,
        "VAELoader.vae_name": files.vae,
    }
    if task == "i2v":
        changes["X2VLoadCLIPVision.clip_name"] = files.clip
    return changes


def prompt(kind: str, task: str, info: dict, changes: dict[str, object], picture: str | None = None) -> Prompt:
    """The demo's workflow for one format. info: the server's /object_info; changes: more overrides, "NODE.INPUT";
    picture: the name of an uploaded one to start from, None for the one that the workflow draws.

    In "bf16" ComfyUI's own loader takes the diffusion model. It knows encoders of the full size only, so those stay in
    int8.
    """
    loaded = settings(assets.INT8 if kind == assets.ORIGINAL else kind, task)
    made = override(to_prompt(workflow(TEMPLATES[task]), info), {**loaded, **changes}, info)
    if kind == assets.ORIGINAL:
        made[node_of(made, "X2VLoadDiT")] = unet_loader(getattr(assets.names(kind), task))
    if picture is not None:
        made[node_of(made, "ImageCompositeMasked")] = {"class_type": "LoadImage", "inputs": {"image": picture}}
    return made


def unet_loader(name: str) -> dict:
    """The entry of ComfyUI's own loader of diffusion models, which gives what Load Quantized DiT gives."""
    return {"class_type": "UNETLoader", "inputs": {"unet_name": name, "weight_dtype": "default"}}


def node_of(prompt: Prompt, class_type: str) -> str:
    """The id of the first node of a class."""
    return next(node for node, entry in prompt.items() if entry["class_type"] == class_type)
