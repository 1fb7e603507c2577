"""The graphs of a run, as data: which file, on which scheme, offloaded how, with which nodes behind the loader."""

from dataclasses import dataclass

from error_cases.sampling import OFF

from x2v_quant.demo import assets
from x2v_quant.demo import graph as demo_graph
from x2v_quant.demo.graph import node_of, unet_loader

from .files import DELETED, LORA, REPLACED, model_file

Prompt = dict[str, dict]
STEPS = 2
VIDEO = ("SaveVideo", "CreateVideo", "ImageScaleBy", "VAEDecode", "VAELoader")
# stage -> the node behind the loader, and its inputs beside "model"
STAGES: dict[str, tuple[str, dict]] = {
    "lora": ("X2VLoadLoRA", {"lora_name": LORA, "strength": 0.7, "mode": "auto"}),
    "lora merged": ("X2VLoadLoRA", {"lora_name": LORA, "strength": 1.0, "mode": "merge"}),
    "lora beside": ("X2VLoadLoRA", {"lora_name": LORA, "strength": 1.0, "mode": "bypass"}),
    "core's lora": ("LoraLoaderModelOnly", {"lora_name": LORA, "strength_model": 0.5}),
    "core's bypass": ("LoraLoaderBypassModelOnly", {"lora_name": LORA, "strength_model": 0.5}),
    "patch": ("X2VSamplerPatch", {**OFF, "high_first_steps": 1, "nan_guard": True, "step_report": True}),
    "shared": ("X2VSamplerPatch", {**OFF, "shared_activations": True}),
    "layers": ("X2VSamplerPatch", {**OFF, "high_precision_layers": "blocks.1.*"}),
    "quantize int8": ("X2VQuantizeModel", {"format": "int8-channel"}),
    "quantize fp8": ("X2VQuantizeModel", {"format": "fp8-channel", "layers": "ffn.2 = keep"}),
    "calibrate": ("X2VCalibrate", {}),
    "merge": ("ModelMergeSimple", {"ratio": 0.5}),
}
OFFLOADED = ("model", "block", "phase", "disk")


@dataclass(frozen=True)
class Recipe:
    """`file`: what Load Quantized DiT loads, or with `dense` core's loader. `text`: the format of the text encoder."""

    file: str
    stages: tuple[str, ...] = ()
    scheme: str = "auto"
    offload: str = ""
    text: str = "int8"
    dense: bool = False

    def __str__(self) -> str:
        words = [self.file, *self.stages, self.scheme, self.offload and f"offload {self.offload}", self.text]
        return ", ".join(word for word in words if word)


INT8, FP8 = model_file("int8"), model_file("fp8")
INT4, NVFP4 = model_file("int4"), model_file("nvfp4")
BF16 = assets.names(assets.ORIGINAL).t2v
RECIPES = (
    *(Recipe(model_file(kind)) for kind in ("int8", "fp8", "fp8-tensor", "block128", "int4", "mxfp8", "nvfp4")),
    Recipe(model_file("int4-marlin"), scheme="reference"),
    Recipe(INT8, scheme="reference"),
    Recipe(INT8, scheme="dequant", text="fp8"),
    Recipe(FP8, scheme="reference", text="fp8"),
    *(Recipe(INT8, (stage,)) for stage in STAGES if not stage.startswith("quantize")),
    *(Recipe(file, (stage,)) for file in (FP8, INT4, NVFP4) for stage in ("lora", "lora merged", "lora beside")),
    *(Recipe(INT8, offload=mode) for mode in OFFLOADED),
    *(Recipe(FP8, ("lora beside",), offload=mode) for mode in ("block", "disk")),
    Recipe(INT8, ("lora", "patch"), scheme="reference"),
    Recipe(FP8, ("lora beside", "shared", "merge")),
    *(Recipe(BF16, (stage,), dense=True) for stage in ("quantize int8", "quantize fp8")),
    Recipe(BF16, ("core's lora", "quantize int8", "patch"), dense=True),
    Recipe(BF16, ("quantize int8", "lora"), dense=True),
    Recipe(BF16, ("quantize int8", "calibrate"), dense=True),
    Recipe(REPLACED),
    Recipe(REPLACED, ("lora",)),
    Recipe(DELETED),
)


def prompt_of(recipe: Recipe, info: dict, number: int, **sampler) -> Prompt:
    """The prompt of a recipe that saves its latent. number: makes the sampler's inputs new ones for core's cache
    without another result: a `denoise` above 0.9999 is 1."""
    made = demo_graph.prompt("int8", "t2v", info, {"X2VScheme.dit": recipe.scheme, "KSampler.steps": STEPS})
    for output in VIDEO:
        del made[node_of(made, output)]
    ids = {entry["class_type"]: node for node, entry in made.items()}
    loader = ids["X2VLoadDiT"]
    made[loader]["inputs"]["model_name"] = recipe.file
    made[ids["X2VLoadT5"]]["inputs"]["text_encoder_name"] = assets.names(recipe.text).t5
    if recipe.offload:
        made["offload"] = _offload(recipe.offload)
        made[loader]["inputs"]["offload"] = ["offload", 0]
    if recipe.dense:
        made[loader] = unet_loader(recipe.file)
    _behind(made, loader, recipe.stages)
    made[ids["KSampler"]]["inputs"] |= {"denoise": 1.0 - number * 1e-9, **sampler}
    samples = [ids["KSampler"], 0]
    made["latent"] = {"class_type": "SaveLatent", "inputs": {"samples": samples, "filename_prefix": "order/latent"}}
    if "calibrate" in recipe.stages:
        calibration = [f"stage{recipe.stages.index('calibrate')}", 1]
        inputs = {"recording": calibration, "latent": samples, "filename_prefix": "order/calibration"}
        made["finished"] = {"class_type": "X2VFinishCalibration", "inputs": inputs}
    return made


def _offload(mode: str) -> dict:
    inputs = {"mode": mode, "vram_budget_gb": 0.0, "prefetch": 1, "pinned_memory": True, "t5": "auto", "clip": "auto"}
    return {"class_type": "X2VOffloadControl", "inputs": inputs}


def _behind(made: Prompt, loader: str, stages: tuple[str, ...]) -> None:
    last = [loader, 0]
    users = [(entry, name) for entry in made.values() for name, value in entry["inputs"].items() if value == last]
    for index, stage in enumerate(stages):
        kind, inputs = STAGES[stage]
        given = {"model1": last, "model2": [loader, 0]} if kind == "ModelMergeSimple" else {"model": last}
        made[f"stage{index}"] = {"class_type": kind, "inputs": {**given, **inputs}}
        last = [f"stage{index}", 0]
    for entry, name in users:
        entry["inputs"][name] = last
