"""Files that a saved graph names and that are not here: refused before the graph runs, and with a link when it does."""

from .case import LOADERS, ErrorCase, linked, loaded, node
from .configurations import config
from .experts import by_link, experts
from .graphs import behind, ours

GONE = "gone.safetensors"


def said(kind: str, name: str = GONE) -> str:
    return f"{name} is not in models/{kind}. Download it there (a template's note has the link) and press R, or pick"


def lora(place):
    return behind(ours(), "X2VLoadLoRA", lora_name=GONE, strength=1.0, mode="auto")


def no_name(place):
    return {"load": node("X2VLoadDiT"), "report": node("X2VKernelReport", model=["load", 0])}


CASES = {
    **{
        f"model of {loader}": ErrorCase(
            loader, lambda place, loader=loader: loaded(loader, GONE), (said(kind),), early=True
        )
        for loader, (kind, _, _) in LOADERS.items()
    },
    "model, linked": ErrorCase(
        "X2VLoadDiT",
        lambda place: linked(loaded("X2VLoadDiT", GONE), "load", "model_name", GONE),
        (said("diffusion_models"),),
    ),
    "model in a folder of Windows": ErrorCase(
        "X2VLoadDiT",
        lambda place: loaded("X2VLoadDiT", f"wan\\{GONE}"),
        (said("diffusion_models", f"wan\\{GONE}"),),
        early=True,
    ),
    "no model": ErrorCase("X2VLoadDiT", no_name, ("Required input is missing: model_name",), early=True),
    "tokenizer": ErrorCase(
        "X2VLoadT5",
        lambda place: loaded("X2VLoadT5", "x2v_demo_umt5_int8.pth", tokenizer="gone.model"),
        (said("text_encoders", "gone.model"),),
        early=True,
    ),
    "lora": ErrorCase("X2VLoadLoRA", lora, (said("loras"),), early=True),
    "lora, linked": ErrorCase(
        "X2VLoadLoRA", lambda place: linked(lora(place), "behind", "lora_name", GONE), (said("loras"),)
    ),
    "expert": ErrorCase("X2VLoadExperts", lambda place: experts(GONE, GONE), (said("diffusion_models"),), early=True),
    "expert whose other is looked for": ErrorCase(
        "X2VLoadExperts", lambda place: experts(GONE), (said("diffusion_models"),), early=True
    ),
    "expert, linked": ErrorCase("X2VLoadExperts", lambda place: by_link(experts(GONE)), (said("diffusion_models"),)),
    "configuration": ErrorCase(
        "X2VLoadConfig",
        lambda place: config(config="gone.json"),
        ("The configuration gone.json is not here. Put the .json into ComfyUI's input folder, press R and pick it.",),
        early=True,
    ),
    "configuration, linked": ErrorCase(
        "X2VLoadConfig",
        lambda place: linked(config(), "load", "config", "gone.json"),
        ("The configuration gone.json is not here.",),
    ),
    "model folder": ErrorCase(
        "X2VLoadConfig",
        lambda place: config(text="{}", model_folder="gone/"),
        ("The folder gone/ is not in models/diffusion_models. Put it there as it was downloaded and press R.",),
        early=True,
    ),
    "model folder, linked": ErrorCase(
        "X2VLoadConfig",
        lambda place: linked(config(text="{}"), "load", "model_folder", "gone/"),
        ("The folder gone/ is not in models/diffusion_models.",),
    ),
}
