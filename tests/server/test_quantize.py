"""Quantize Model and Quantize CLIP in the real server, behind ComfyUI's own loaders."""

import re

import pytest
from distance import distance
from safetensors.torch import save_file
from small_wan import trained_lora

from x2v_quant.demo import assets
from x2v_quant.demo.graph import node_of, unet_loader
from x2v_quant.headless.client import ServerError

pytestmark = pytest.mark.slow

ORIGINAL = assets.names(assets.ORIGINAL)
LORA = "quantize_lora.safetensors"


@pytest.fixture(scope="module", autouse=True)
def lora(server):
    folder = server.base / "models" / "loras"
    folder.mkdir(exist_ok=True)
    save_file(trained_lora(11), folder / LORA)


@pytest.fixture
def dense_graph(graph):
    """The demo's text to video with ComfyUI's own loader of diffusion models, and (class type, inputs) behind it."""

    def make(*behind):
        prompt, ids = graph()
        loader = node_of(prompt, "X2VLoadDiT")
        prompt[loader] = unet_loader(ORIGINAL.t2v)
        last = [loader, 0]
        users = [(entry, name) for entry in prompt.values() for name, value in entry["inputs"].items() if value == last]
        for number, (class_type, inputs) in enumerate(behind):
            node = f"behind{number}"
            prompt[node] = {"class_type": class_type, "inputs": {"model": last, **inputs}}
            last = [node, 0]
        for entry, name in users:
            entry["inputs"][name] = last
        return prompt, ids

    return make


LOADED_LORA = ("LoraLoaderModelOnly", {"lora_name": LORA, "strength_model": 1.0})


def test_a_lora_before_quantize_model_is_in_the_video(dense_graph, run):
    plain, _ = run(dense_graph()[0])
    wanted, _ = run(dense_graph(LOADED_LORA)[0])
    quantized, report = run(dense_graph(LOADED_LORA, ("X2VQuantizeModel", {"format": "int8-channel"}))[0])
    assert "int8-channel ->" in report
    effect = distance(wanted, plain)
    assert effect > 0.05
    assert 0 < distance(quantized, wanted) < 0.5 * effect
    # the loader's cached model is what it was
    again, _ = run(dense_graph(("RescaleCFG", {"multiplier": 0.0}))[0])
    assert distance(again, plain) < 1e-5


@pytest.mark.parametrize("format_name", ["auto", "fp8-channel"])
def test_formats_and_lines(dense_graph, run, format_name, allowed):
    plain, _ = run(dense_graph()[0])
    inputs = {"format": format_name, "layers": "ffn.2 = keep\n# a comment\nself_attn.q = int8-channel"}
    quantized, report = run(dense_graph(("X2VQuantizeModel", inputs))[0])
    assert "int8-channel ->" in report
    assert 0 < distance(quantized, plain) < max(allowed["fp8"], allowed["int8"])


def test_quantize_clip(dense_graph, run):
    prompt, _ = dense_graph()
    loader = node_of(prompt, "X2VLoadT5")
    prompt[loader] = {"class_type": "ReferenceT5", "inputs": {"text_encoder_name": ORIGINAL.t5}}
    plain, _ = run(prompt)
    for entry in prompt.values():
        for name, value in entry["inputs"].items():
            if value == [loader, 0]:
                entry["inputs"][name] = ["quantized", 0]
    prompt["quantized"] = {"class_type": "X2VQuantizeCLIP", "inputs": {"clip": [loader, 0], "format": "int8-channel"}}
    latent, report = run(prompt)
    assert "WanTEModel, quantized: scheme auto" in report
    assert 0 < distance(latent, plain) < 0.1


def test_a_wrong_line_is_refused_before_anything_runs(dense_graph, server):
    inputs = {"format": "int8-channel", "layers": "ffn.2 = int9"}
    with pytest.raises(ServerError, match=r"Line 1 .*int9"):
        server.client.submit(dense_graph(("X2VQuantizeModel", inputs))[0])


def test_a_line_that_matches_no_layer_is_an_error_before_sampling(dense_graph, server):
    inputs = {"format": "int8-channel", "layers": "blocks.99.* = keep"}
    with pytest.raises(ServerError, match="matches no layer"):
        server.client.run(dense_graph(("X2VQuantizeModel", inputs))[0])


def test_a_saved_model_is_the_one_that_was_quantized(dense_graph, run, server):
    """Behind Quantize Model a node that writes it; the file then in its place."""
    quantize = ("X2VQuantizeModel", {"format": "int8-channel"})
    prompt, _ = dense_graph(quantize)
    saved = {"model": ["behind0", 0], "filename_prefix": "diffusion_models/saved", "dialect": "lightx2v"}
    prompt["save"] = {"class_type": "X2VSaveModel", "inputs": {**saved, "package": "file"}}
    expected, told = run(prompt)
    (path,) = (server.base / "output" / "diffusion_models").glob("saved_*.safetensors")
    where = rf"output/diffusion_models/{re.escape(path.name)}\nMove it to models/diffusion_models and press R\.$"
    assert re.search(rf"^\d\.\d\d MB saved: {where}", told, re.MULTILINE)
    path.rename(server.base / "models" / "diffusion_models" / path.name)
    prompt, _ = dense_graph()
    loader = node_of(prompt, "UNETLoader")
    prompt[loader] = {"class_type": "X2VLoadDiT", "inputs": {"model_name": path.name}}
    found, _ = run(prompt)
    assert distance(found, expected) < 1e-4
