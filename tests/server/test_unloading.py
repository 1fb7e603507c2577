"""POST /free between two prompts of the real server, which unloads outside of the mode that prompts run in."""

import itertools

import pytest
import torch
from error_cases.sampling import OFF
from safetensors.torch import load_file, save_file
from small_wan import trained_lora

from x2v_quant.benchmarks.quantize import KINDS, quantized
from x2v_quant.demo import assets
from x2v_quant.demo import graph as demo_graph
from x2v_quant.demo.graph import node_of, unet_loader
from x2v_quant.demo.video import START_IMAGE

pytestmark = pytest.mark.slow

LORA = "unloaded_lora.safetensors"
# the "Unload Models" button of the menu, the one that empties the cache too, and the flag that brings the other along
FLAGS = ({"free_memory": False}, {"unload_models": False}, {})
every_flag = pytest.mark.parametrize("flags", FLAGS, ids=["unload_models", "free_memory", "both"])
PLAIN_OFFLOAD = {"vram_budget_gb": 0.0, "prefetch": 1, "pinned_memory": True, "t5": "auto", "clip": "auto"}
LOADED_LORA = {"lora_name": LORA, "strength": 1.0}
# what lies behind the loader: (class, its inputs but the model) and which of its outputs is the MODEL
BRANCHES = {
    "LoRA in the weights": ("X2VLoadLoRA", {**LOADED_LORA, "mode": "merge"}, 0),
    "LoRA beside the weights": ("X2VLoadLoRA", {**LOADED_LORA, "mode": "bypass"}, 0),
    "ComfyUI's LoRA": ("LoraLoaderModelOnly", {"lora_name": LORA, "strength_model": 1.0}, 0),
    "high precision": ("X2VSamplerPatch", {**OFF, "high_first_steps": 1, "high_precision_layers": "blocks.0.ffn.0"}, 0),
    "guard": ("X2VSamplerPatch", {**OFF, "nan_guard": True, "step_report": True}, 0),
    "shared activations": ("X2VSamplerPatch", {**OFF, "shared_activations": True}, 0),
    "calibrated": ("X2VCalibrate", {}, 0),
    "quantized again": ("X2VQuantizeModel", {"format": "fp8-channel"}, 0),
    **{
        f"offload {mode}": ("X2VOffloadControl", {"mode": mode, **PLAIN_OFFLOAD}, 1)
        for mode in ("model", "block", "phase", "disk")
    },
}


@pytest.fixture(scope="module", autouse=True)
def lora(server):
    folder = server.base / "models" / "loras"
    folder.mkdir(exist_ok=True)
    save_file(trained_lora(17), folder / LORA)


@pytest.fixture
def make(object_info):
    """make(task, seed, text, branch=None, **changes) -> a prompt of few steps that ends in a saved latent."""

    def build(task, seed, text, branch=None, **changes):
        settings = {"KSampler.steps": 2, "KSampler.seed": seed, "Positive Prompt.text": text}
        picture = START_IMAGE if task == "i2v" else None
        prompt = demo_graph.prompt("int8", task, object_info, {**settings, **changes}, picture)
        for output in ("SaveVideo", "CreateVideo", "ImageScaleBy", "VAEDecode"):
            del prompt[node_of(prompt, output)]
        samples = {"samples": [node_of(prompt, "KSampler"), 0], "filename_prefix": "latents/unloaded"}
        prompt["latent"] = {"class_type": "SaveLatent", "inputs": samples}
        if branch is not None:
            behind(prompt, *branch)
        return prompt

    return build


def behind(prompt, class_type, inputs, output):
    model = [node_of(prompt, "X2VLoadDiT"), 0]
    for entry in prompt.values():
        entry["inputs"].update({name: ["branch", output] for name, value in entry["inputs"].items() if value == model})
    prompt["branch"] = {"class_type": class_type, "inputs": {"model": model, **inputs}}


@pytest.fixture
def stays(server, run):
    """stays(prompt of (seed, text), flags): the latents are the first ones, whatever is unloaded between."""

    def check(build, flags):
        first, _ = run(build(5, "a red circle moving right"))
        for _ in range(2):
            # what is cached of the first prompt goes, the models stay
            other, _ = run(build(6, "a blue square moving up"))
            assert not torch.equal(other, first)
            server.client.free(**flags)
            again, _ = run(build(5, "a red circle moving right"))
            assert torch.equal(again, first)

    return check


@every_flag
@pytest.mark.parametrize("task", demo_graph.TASKS)
def test_the_latents_stay(task, flags, make, stays):
    """The diffusion model and T5, with pictures the vision encoder too."""

    def build(seed, text):
        crop = {"CLIPVisionEncode.crop": "none" if seed == 5 else "center"} if task == "i2v" else {}
        return make(task, seed, text, **crop)

    stays(build, flags)


@pytest.mark.parametrize("kind", KINDS)
def test_the_latents_stay_in_every_format(kind, make, stays, server):
    folder = server.base / "models" / "diffusion_models"
    name = f"unloaded_{kind}.safetensors"
    save_file(quantized(load_file(folder / assets.names(assets.ORIGINAL).t2v), kind, "dit"), folder / name)
    stays(lambda seed, text: make("t2v", seed, text, **{"X2VLoadDiT.model_name": name}), FLAGS[0])


@pytest.mark.parametrize("branch,flags", list(zip(BRANCHES, itertools.cycle(FLAGS), strict=False)))
def test_the_latents_stay_behind_other_nodes(branch, flags, make, stays):
    stays(lambda seed, text: make("t2v", seed, text, BRANCHES[branch]), flags)


def test_the_latents_stay_of_what_is_quantized_in_the_graph(make, stays):
    def build(seed, text):
        prompt = make("t2v", seed, text, ("X2VQuantizeModel", {"format": "int8-channel"}, 0))
        prompt[node_of(prompt, "X2VLoadDiT")] = unet_loader(assets.names(assets.ORIGINAL).t2v)
        t5 = [node_of(prompt, "X2VLoadT5"), 0]
        for entry in prompt.values():
            entry["inputs"].update({name: ["clip", 0] for name, value in entry["inputs"].items() if value == t5})
        prompt["clip"] = {"class_type": "X2VQuantizeCLIP", "inputs": {"clip": t5, "format": "fp8-channel"}}
        return prompt

    stays(build, FLAGS[0])


def test_two_models_take_turns(make, server, run):
    """One of them with a LoRA, of which the strength changes: core puts weights back that it kept before unloading."""
    strengths = (1.0, 0.5, 0.0)

    def build(strength, seed):
        return make(
            "t2v", seed, "a red circle", ("X2VLoadLoRA", {**LOADED_LORA, "strength": strength, "mode": "merge"}, 0)
        )

    first = [run(build(strength, 5))[0] for strength in strengths]
    for number, strength in enumerate((*strengths, *reversed(strengths), *strengths)):
        run(build(strength, 100 + number))
        server.client.free(**FLAGS[number % 3])
        assert torch.equal(run(build(strength, 5))[0], first[strengths.index(strength)])
