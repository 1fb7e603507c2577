"""The workflows are sound: consistent links, no overlaps, every model with its download or with who writes it."""

import json
from pathlib import Path

import pytest

from x2v_quant.demo import recipe
from x2v_quant.demo.assets import names
from x2v_quant.demo.scenes import FRAMES, SIDE

WORKFLOWS = sorted((Path(__file__).parents[2] / "workflows").glob("*.json"))
DIRECTORIES = {
    "X2VLoadDiT": "diffusion_models",
    "X2VLoadExperts": "diffusion_models",
    "UNETLoader": "diffusion_models",
    "X2VLoadT5": "text_encoders",
    "X2VLoadCLIPVision": "clip_vision",
    "VAELoader": "vae",
}
TITLE_HEIGHT = 30  # what the frontend draws above a node's position

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


T2V = {"X2VLoadDiT", "X2VLoadT5", "VAELoader"}
I2V = {*T2V, "X2VLoadCLIPVision"}
EXPERTS = {"X2VLoadExperts", "X2VLoadT5", "VAELoader"}
DENSE = {"UNETLoader", "X2VLoadT5", "VAELoader"}
# template -> what loads its models
PUBLISHED = {
    "wan_i2v_quantized": I2V,
    "wan_t2v_quantized": T2V,
    "quantize_and_save": DENSE,
    "calibrate": DENSE,
    "compare": DENSE,
    "low_vram": T2V,
    "wan22_i2v_4step": EXPERTS,
}
DEMO = {"demo_i2v": I2V, "demo_t2v": T2V}


def named(names):
    return pytest.mark.parametrize(
        "path", [path for path in WORKFLOWS if path.stem in names], ids=lambda path: path.stem
    )


def test_all_are_there_each_with_a_thumbnail():
    assert [path.stem for path in WORKFLOWS] == sorted([*PUBLISHED, *DEMO])
    assert all(path.with_suffix(".jpg").is_file() for path in WORKFLOWS)


def test_ids_are_their_own():
    assert len({load(path)["id"] for path in WORKFLOWS}) == len(WORKFLOWS)


@every_workflow
def test_links_agree_with_both_ends(path):
    saved = load(path)
    nodes = {node["id"]: node for node in saved["nodes"]}
    for number, origin, origin_slot, target, target_slot, kind in saved["links"]:
        output, slot = nodes[origin]["outputs"][origin_slot], nodes[target]["inputs"][target_slot]
        assert number in output["links"]
        assert slot["link"] == number
        assert kind == output["type"]
        assert slot["type"] in (kind, "*")
    ends = [slot["link"] for node in nodes.values() for slot in node["inputs"] if slot.get("link") is not None]
    starts = [link for node in nodes.values() for slot in node["outputs"] for link in slot["links"] or []]
    assert sorted(ends) == sorted(starts) == sorted(link[0] for link in saved["links"])
    assert saved["last_link_id"] >= max(link[0] for link in saved["links"])
    assert saved["last_node_id"] >= max(nodes)


def loaders(path):
    """(loaders by their class, the text of the note)."""
    nodes = load(path)["nodes"]
    found = {node["type"]: node for node in nodes if node["type"] in DIRECTORIES}
    assert set(found) == {**PUBLISHED, **DEMO}[path.stem]
    (note,) = (node["widgets_values"][0] for node in nodes if node["type"] == "MarkdownNote")
    return found, note


@named(PUBLISHED)
def test_each_loader_carries_its_model(path):
    found, note = loaders(path)
    for kind, node in found.items():
        models = node["properties"]["models"]
        assert [model["name"] for model in models] == node["widgets_values"][: len(models)]
        assert len(models) == (2 if kind == "X2VLoadExperts" else 1)
        for model in models:
            assert model["directory"] == DIRECTORIES[kind]
            assert model["url"].startswith("https://huggingface.co/")
            assert model["url"].endswith(f"/{model['name']}")
            assert model["url"] in note


@named(DEMO)
def test_the_demos_files_have_no_download_and_the_note_says_who_writes_them(path):
    found, note = loaders(path)
    for kind, node in found.items():
        assert "models" not in node["properties"]
        assert f"{DIRECTORIES[kind]}/{node['widgets_values'][0]}" in note
    assert "x2v-quant demo-models FOLDER" in note
    assert "python dev.py demo" in note


@named(DEMO)
def test_the_demos_defaults_are_what_the_model_was_trained_for(path):
    nodes = {node.get("title") or node["type"]: node.get("widgets_values") for node in load(path)["nodes"]}
    files = names("int8")
    assert nodes["X2VLoadDiT"] == [getattr(files, path.stem.removeprefix("demo_"))]
    assert nodes["X2VLoadT5"][0] == files.t5
    assert nodes["VAELoader"] == [files.vae]
    assert nodes["Positive Prompt"] == [recipe.PROMPT]
    assert nodes["Negative Prompt"] == [recipe.NEGATIVE]
    assert nodes["Video Size"] == [SIDE, SIDE, FRAMES, 1]
    assert nodes["ModelSamplingSD3"] == [recipe.SHIFT]
    assert nodes["KSampler"][2:] == [recipe.STEPS, recipe.CFG, recipe.SAMPLER, recipe.SCHEDULER, 1]


@every_workflow
def test_no_node_lies_on_another(path):
    nodes = load(path)["nodes"]
    boxes = {}
    for node in nodes:
        (x, y), (width, height) = node["pos"], node["size"]
        boxes[node["id"]] = (x, y - TITLE_HEIGHT, x + width, y + height)
    for first, (left, top, right, bottom) in boxes.items():
        for second, (left2, top2, right2, bottom2) in boxes.items():
            if first < second:
                apart = right <= left2 or right2 <= left or bottom <= top2 or bottom2 <= top
                assert apart, f"nodes {first} and {second} overlap"
