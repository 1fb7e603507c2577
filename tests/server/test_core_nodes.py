"""ComfyUI's own nodes on our MODEL, CLIP and CLIP_VISION, in the real server; and what a wrong file or scheme does."""

import json
import re
import shutil

import pytest
import torch
from distance import distance
from safetensors.torch import load_file, save_file
from small_wan import trained_lora

from x2v_quant.demo import assets
from x2v_quant.headless.client import ServerError

pytestmark = pytest.mark.slow

FILES = assets.names("int8")


@pytest.fixture(scope="module")
def lora(server):
    """A LoRA in the key style of LightX2V's distilled LoRAs."""
    folder = server.base / "models" / "loras"
    folder.mkdir(exist_ok=True)
    save_file(trained_lora(7), folder / "demo_lora.safetensors")
    return "demo_lora.safetensors"


def insert_behind_loader(prompt, ids, class_type, **inputs):
    """Put a MODEL -> MODEL node between Load Quantized DiT and whatever takes its model."""
    for entry in prompt.values():
        for name, value in entry["inputs"].items():
            if value == [ids["X2VLoadDiT"], 0]:
                entry["inputs"][name] = ["inserted", 0]
    prompt["inserted"] = {"class_type": class_type, "inputs": {"model": [ids["X2VLoadDiT"], 0], **inputs}}


def test_lora_loaders_agree(graph, run, lora):
    plain, _ = run(graph()[0])
    outputs = {}
    for loader in ("LoraLoaderModelOnly", "LoraLoaderBypassModelOnly"):
        prompt, ids = graph()
        insert_behind_loader(prompt, ids, loader, lora_name=lora, strength_model=1.0)
        outputs[loader], _ = run(prompt)
    merged, bypassed = outputs.values()
    assert distance(merged, plain) > 0.05
    assert distance(merged, bypassed) < 0.25 * distance(merged, plain)


def test_model_save_gives_a_file_that_loads(graph, run, server, lora, best):
    prompt, ids = graph()
    insert_behind_loader(prompt, ids, "LoraLoaderModelOnly", lora_name=lora, strength_model=0.7)
    expected, _ = run(prompt)
    prompt["save"] = {
        "class_type": "ModelSave",
        "inputs": {"model": ["inserted", 0], "filename_prefix": "diffusion_models/saved"},
    }
    server.client.run(prompt)
    (saved,) = (server.base / "output" / "diffusion_models").glob("saved*.safetensors")
    name = "with_lora.safetensors"
    shutil.move(saved, server.base / "models" / "diffusion_models" / name)
    latent, report = run(graph(**{"X2VLoadDiT.model_name": name})[0])
    assert torch.equal(latent, expected)
    assert f"int8-channel -> {best('int8-channel').name}" in report


def test_torch_compile_node(graph, run):
    """cudagraphs is the backend that the node offers and that needs no C++ compiler; on CPU it is eager execution."""
    expected, _ = run(graph()[0])
    prompt, ids = graph()
    insert_behind_loader(prompt, ids, "TorchCompileModel", backend="cudagraphs")
    latent, _ = run(prompt)
    assert distance(latent, expected) < 1e-3


def test_switching_the_scheme_really_reloads(graph, run, best):
    kernels = []
    latents = []
    for scheme in ("auto", "int8-reference", "auto"):
        latent, report = run(graph(**{"X2VScheme.dit": scheme})[0])
        kernels.append(re.search(r"DiT:.*?int8-channel -> (\w+)", report, re.DOTALL).group(1))
        latents.append(latent)
    assert kernels == [best("int8-channel").name, "reference", best("int8-channel").name]
    assert not torch.equal(latents[0], latents[1])
    assert torch.equal(latents[0], latents[2])


def test_the_report_names_what_was_asked_for_and_what_runs(graph, run, best):
    _, report = run(graph(**{"X2VScheme.dit": "int8-vllm", "X2VScheme.t5": "int8-vllm"})[0])
    fast = "fast" if best("int8-channel").good_for == "fast" else "saves memory only"
    assert re.match(rf"DiT: int8, {fast} [^\n]+\nT5: int8, {fast} [^\n]+\n\nDiT:\n", report)
    assert re.search(r"^- not vllm\b.*: needs a", report, re.MULTILINE)
    assert "fp8-channel:" in report
    assert re.search(r"^libraries:$", report, re.MULTILINE)
    assert re.search(r"^- vllm.*: (found|optional, |of no use on this machine)", report, re.MULTILINE)
    assert "needs a CUDA GPU" in report


LEGACY = "W-int8-channel-sym-A-int8-channel-sym-dynamic-Vllm"


def test_the_scheme_node_takes_old_names_and_refuses_wrong_ones(graph, run, server):
    prompt, ids = graph()
    prompt[ids["X2VScheme"]]["inputs"].update(dit=LEGACY, t5="int8", clip="W8A8-INT8")
    assert "scheme int8-vllm" in run(prompt)[1]
    prompt[ids["X2VScheme"]]["inputs"]["clip"] = "int8-sgl"
    with pytest.raises(ServerError, match="not made for the clip model"):
        server.client.submit(prompt)


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"X2VScheme.dit": "int8-vllm", "X2VScheme.strict": True}, "Switch strict off"),
        ({"X2VScheme.dit": "fp8-sgl"}, "Pick one of: auto, int8-vllm"),
        ({"X2VLoadDiT.model_name": "damaged.safetensors"}, r"blocks.1.ffn.0.weight.* has no scale"),
        ({"X2VLoadDiT.model_name": "truncated.safetensors"}, "truncated"),
        ({"X2VLoadDiT.model_name": "t5_here.pth"}, "Load Quantized T5"),
    ],
    ids=["strict", "mismatch", "no-scale", "truncated", "t5"],
)
def test_refused_with_a_sentence_before_sampling(graph, server, changes, words):
    folder = server.base / "models" / "diffusion_models"
    original = folder / FILES.t2v
    damaged = load_file(original)
    del damaged["blocks.1.ffn.0.weight_scale"]
    save_file(damaged, folder / "damaged.safetensors")
    (folder / "truncated.safetensors").write_bytes(original.read_bytes()[:-5000])
    shutil.copy(server.base / "models" / "text_encoders" / FILES.t5, folder / "t5_here.pth")
    # a sampler seed of its own, so that no cached result answers
    prompt, _ = graph(**{**changes, "KSampler.seed": 99})
    events = []
    with pytest.raises(ServerError, match=words):
        server.client.run(prompt, events.append)
    assert not [event for event in events if event.type == "progress" and event.data.get("max", 0) > 1]


def offered(server, node, name):
    """What the node's list holds now."""
    spec = server.client.get(f"/object_info/{node}")[node]["input"]["required"][name]
    return spec[1]["options"] if isinstance(spec[0], str) else spec[0]


@pytest.mark.parametrize("tokenizer", ["auto", "google/umt5-xxl/", "google/umt5-xxl/spiece.model"])
def test_a_tokenizer_beside_the_encoder_is_found_or_picked(graph, run, server, bare_text_encoder, tokenizer):
    assert tokenizer in offered(server, "X2VLoadT5", "tokenizer")
    expected, _ = run(graph()[0])
    changes = {"X2VLoadT5.text_encoder_name": bare_text_encoder, "X2VLoadT5.tokenizer": tokenizer}
    assert torch.equal(run(graph(**changes)[0])[0], expected)


def test_shards_of_any_name_are_offered_as_their_folder(graph, run, server):
    folder = server.base / "models" / "diffusion_models" / "wan_shards"
    folder.mkdir(exist_ok=True)
    tensors = load_file(server.base / "models" / "diffusion_models" / FILES.t2v)
    halves = {"first.safetensors": sorted(tensors)[::2], "second.safetensors": sorted(tensors)[1::2]}
    for file, names in halves.items():
        save_file({name: tensors[name] for name in names}, folder / file)
    index = {"weight_map": {name: file for file, names in halves.items() for name in names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    names = offered(server, "X2VLoadDiT", "model_name")
    assert [name for name in names if name.startswith("wan_shards")] == ["wan_shards/"]
    expected, _ = run(graph()[0])
    assert torch.equal(run(graph(**{"X2VLoadDiT.model_name": "wan_shards/"})[0])[0], expected)


def test_a_folder_is_offered_in_place_of_its_parts(graph, run, server):
    folder = server.base / "models" / "diffusion_models" / "wan_blocks"
    folder.mkdir(exist_ok=True)
    tensors = load_file(server.base / "models" / "diffusion_models" / FILES.t2v)
    parts = {}
    for name, tensor in tensors.items():
        words = name.split(".")
        parts.setdefault(f"block_{words[1]}" if words[0] == "blocks" else "non_block", {})[name] = tensor
    for part, held in parts.items():
        save_file(held, folder / f"{part}.safetensors")
    names = offered(server, "X2VLoadDiT", "model_name")
    assert "wan_blocks/" in names
    assert not [name for name in names if name.startswith("wan_blocks/") and name != "wan_blocks/"]
    whole, _ = run(graph()[0])
    assert torch.equal(run(graph(**{"X2VLoadDiT.model_name": "wan_blocks/"})[0])[0], whole)
