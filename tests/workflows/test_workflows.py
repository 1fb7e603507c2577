"""The workflows are sound: consistent links, no overlaps, every model with its download or with who writes it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from x2v_quant.demo import recipe
from x2v_quant.demo.assets import names, shipped
from x2v_quant.demo.graph import TEMPLATES
from x2v_quant.demo.prompts import said, wrong
from x2v_quant.demo.reading import read
from x2v_quant.demo.scenes import FRAMES, SIDE
from x2v_quant.headless.server import REQUIRED_NODES

WORKFLOWS = sorted((Path(__file__).parents[2] / "workflows").glob("*.json"))
DIRECTORIES = {
    "X2VLoadDiT": "diffusion_models",
    "X2VLoadExperts": "diffusion_models",
    "X2VLoadLoRA": "loras",
    "UNETLoader": "diffusion_models",
    "X2VLoadT5": "text_encoders",
    "CLIPLoader": "text_encoders",
    "DualCLIPLoader": "text_encoders",
    "X2VLoadCLIPVision": "clip_vision",
    "VAELoader": "vae",
}
CONFIG = "X2VLoadConfig"  # names its files in a JSON
# What the frontend takes for a model's file, and which of them it downloads from where. A tokenizer's ending is in
# neither: a template that named one could not be run after "Download all".
MODELS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".sft", ".onnx", ".gguf")
DOWNLOADED = (".safetensors", ".sft", ".ckpt", ".pth", ".pt")
FROM = ("https://huggingface.co/", "https://civitai.com/")
TOKENIZER = ".model"
SWITCHED_OFF = (2, 4)  # a node's mode: never, bypassed
CHINESE = "中文说明"  # the title of the note that says the same in Chinese
LINK = re.compile(r"\[([^\]]+)\]\((https?://[^)]+)\)")
THUMBNAIL_WIDTH = 720

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


T2V = ["X2VLoadDiT", "X2VLoadT5", "VAELoader"]
I2V = [*T2V, "X2VLoadCLIPVision"]
EXPERTS = ["X2VLoadExperts", "X2VLoadT5", "VAELoader"]
DENSE = ["UNETLoader", "X2VLoadT5", "VAELoader"]
# template -> what loads its models; a new one is a row
PUBLISHED = {
    "2 Wan 2.1 text to video, 4 steps": T2V,
    "2 Wan 2.1 picture to video, 4 steps": I2V,
    "2 Wan 2.1 first and last frame": [*DENSE, "X2VLoadCLIPVision"],
    "2 Wan 2.2 text to video, 4 steps": [*EXPERTS, "X2VLoadLoRA", "X2VLoadLoRA"],
    "2 Wan 2.2 picture to video, 4 steps": EXPERTS,
    "2 Wan 2.2 5B, text or picture to video": DENSE,
    "3 Qwen-Image, 4 steps": ["X2VLoadDiT", "CLIPLoader", "VAELoader"],
    "3 Z-Image Turbo": ["X2VLoadDiT", "CLIPLoader", "VAELoader"],
    "3 Flux.1 Krea": ["X2VLoadDiT", "DualCLIPLoader", "VAELoader"],
    "4 Quantize your own model": ["UNETLoader", "CLIPLoader", "VAELoader"],
    "4 Quantize better, step 1": DENSE,
    "4 Quantize better, step 2": DENSE,
    "4 Quantize to 4 bits": DENSE,
    "5 Compare quality": DENSE,
    "2 Wan 2.1 with little VRAM": T2V,
    # two loaders are there for the list of downloads only, which does not look into the configuration
    "5 LightX2V configuration": T2V,
}
DEMO = {"1 Try picture to video, no download": I2V, "1 Try it, no download": T2V}
# of the demo's templates: the one with real models that does the same
NEXT = {
    "1 Try it, no download": "2 Wan 2.1 text to video, 4 steps",
    "1 Try picture to video, no download": "2 Wan 2.1 picture to video, 4 steps",
}
PROMPTS = {"t2v": recipe.PROMPT, "i2v": "a red square moving right"}
READS_INPUT = {"LoadImage", "LoadVideo"}  # of the user's input folder


def named(names):
    return pytest.mark.parametrize(
        "path", [path for path in WORKFLOWS if path.stem in names], ids=lambda path: path.stem
    )


def test_all_are_there_each_with_a_thumbnail():
    assert [path.stem for path in WORKFLOWS] == sorted([*PUBLISHED, *DEMO])
    for path in WORKFLOWS:
        with Image.open(path.with_suffix(".jpg")) as thumbnail:
            assert thumbnail.width == THUMBNAIL_WIDTH, path.stem


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


def notes(path):
    """{title: text}"""
    return {n["title"]: n["widgets_values"][0] for n in load(path)["nodes"] if n["type"] == "MarkdownNote"}


def main_note(path):
    return next(text for title, text in notes(path).items() if title != CHINESE)


def loaders(path):
    """The nodes that load a model."""
    found = [node for node in load(path)["nodes"] if node["type"] in DIRECTORIES]
    assert sorted(node["type"] for node in found) == sorted({**PUBLISHED, **DEMO}[path.stem])
    return found


def files_of(node):
    """The names of models and tokenizers in a node's widgets."""
    values = node.get("widgets_values", ())
    if node["type"] == CONFIG:
        values = json.loads(values[-1]).values()
    return [value for value in values if isinstance(value, str) and value.endswith((*MODELS, TOKENIZER))]


@named(PUBLISHED)
def test_every_file_that_a_node_names_is_in_its_list_of_downloads(path):
    nodes = load(path)["nodes"]
    for node in nodes:
        models = node["properties"].get("models", [])
        assert [model["name"] for model in models] == files_of(node)
        for model in models:
            assert model["url"].startswith(FROM)
            assert model["url"].endswith(f"/{model['name']}")
            assert model["name"].endswith(DOWNLOADED)
        if node["type"] in DIRECTORIES:
            assert models
            assert {model["directory"] for model in models} == {DIRECTORIES[node["type"]]}


@named(PUBLISHED)
def test_the_panel_of_missing_models_has_every_file(path):
    """It looks at lists to choose from, and at no text, of nodes that are switched on."""
    nodes = [node for node in load(path)["nodes"] if node["mode"] not in SWITCHED_OFF]
    chosen = {name for node in nodes if node["type"] != CONFIG for name in files_of(node)}
    assert chosen >= {name for node in nodes for name in files_of(node)}
    assert {node["type"] for node in nodes if files_of(node)} <= {*DIRECTORIES, CONFIG}


@named(PUBLISHED)
def test_both_notes_link_every_file_and_say_how_large_it_is(path):
    models = {model["name"]: model for node in load(path)["nodes"] for model in node["properties"].get("models", ())}
    assert list(notes(path)) == ["Start here", CHINESE]
    for note in notes(path).values():
        for model in models.values():
            row = next(row for row in note.splitlines() if f"[{model['name']}]({model['url']})" in row)
            assert f"**models/{model['directory']}**" in row
            assert re.search(r"\d GB", row)
        assert re.search(r"\d GB( in total)?\*\*$", note, re.MULTILINE)


@named(PUBLISHED)
def test_a_note_is_a_few_sentences_and_invents_no_minutes(path):
    """No GPU was measured: a time is said to be not measured, with LightX2V's own beside it where there is one."""
    ends = {"Start here": (r"\.(?=\s|$)", "not measured yet"), CHINESE: ("。", "尚未测量")}
    for title, text in notes(path).items():
        end, words = ends[title]
        assert 4 <= len(re.findall(end, text)) <= 8
        assert words in text
        assert "`" not in text  # code cannot be read on a note's colour in Nodes 2.0


def test_the_notes_of_both_languages_have_the_same_links():
    for path in WORKFLOWS:
        links = {title: LINK.findall(text) for title, text in notes(path).items()}
        if CHINESE in links:
            assert links[CHINESE] == next(found for title, found in links.items() if title != CHINESE), path.stem


@every_workflow
def test_what_the_note_links_to_is_a_file(path):
    """Of the repositories that publish the models, and no page of theirs: the frontend and people download it."""
    for name, url in LINK.findall(main_note(path)):
        assert url.startswith("https://huggingface.co/")
        assert "/resolve/main/" in url
        assert url.endswith(f"/{name}")


def test_every_node_of_the_pack_is_in_a_template():
    used = {node["type"] for path in WORKFLOWS for node in load(path)["nodes"]}
    assert not set(REQUIRED_NODES) - used


@named(DEMO)
def test_the_demos_files_come_with_the_pack(path):
    ours = {f"{model.parent.name}/{model.name}" for model in shipped()}
    for node in loaders(path):
        assert "models" not in node["properties"]
        assert f"{DIRECTORIES[node['type']]}/{node['widgets_values'][0]}" in ours
    assert not {node["type"] for node in load(path)["nodes"]} & READS_INPUT


@named(DEMO)
def test_the_demos_notes_are_for_people_who_click(path):
    """Both say the same words of the prompt, no command and no folder, and which template comes next."""
    english, chinese = main_note(path), notes(path)[CHINESE]
    assert 3 <= len(re.findall(r"\.(?=\s|$)", english)) <= 6  # sentences
    for text in (english, chinese):
        assert not re.search(r"`|python|FOLDER|models/", text)
        assert [name for name in PUBLISHED if f"**{name}**" in text] == [NEXT[path.stem]]
    assert re.findall(r"\*\*([a-z0-9]+)\*\*", english) == re.findall(r"\*\*([a-z0-9]+)\*\*", chinese)


def test_the_picture_that_is_drawn_is_what_the_prompt_says():
    (path,) = (path for path in WORKFLOWS if path.stem == TEMPLATES["i2v"])
    nodes = {node.get("title"): node.get("widgets_values") for node in load(path)["nodes"]}
    side, height, _, square = nodes["Square"]
    width, *_, dark = nodes["Background"]
    x, y, _ = nodes["Start Picture"]
    assert side == height and width == SIDE and x + side < SIDE and y + side < SIDE
    picture = colour(dark).expand(FRAMES, SIDE, SIDE, 3).clone()
    picture[:, y : y + side, x : x + side] = colour(square)
    shown = replace(read(picture), direction=said(nodes["Positive Prompt"][0]).direction)
    assert wrong(said(nodes["Positive Prompt"][0]), shown) == []


def colour(number):
    """[3] in 0 to 1, of the number that Empty Image has."""
    return torch.tensor([number >> 16, number >> 8 & 255, number & 255]) / 255


@named(DEMO)
def test_the_demos_defaults_are_what_the_model_was_trained_for(path):
    nodes = {node.get("title") or node["type"]: node.get("widgets_values") for node in load(path)["nodes"]}
    files = names("int8")
    (task,) = (task for task, name in TEMPLATES.items() if name == path.stem)
    assert nodes["X2VLoadDiT"] == [getattr(files, task)]
    assert nodes["X2VLoadT5"][0] == files.t5
    assert nodes["VAELoader"] == [files.vae]
    assert nodes["Positive Prompt"] == [PROMPTS[task]]
    assert nodes["Negative Prompt"] == [recipe.NEGATIVE]
    assert nodes["Video Size"] == [SIDE, SIDE, FRAMES, 1]
    assert nodes["ModelSamplingSD3"] == [recipe.SHIFT]
    assert nodes["KSampler"][2:] == [recipe.STEPS, recipe.CFG, recipe.SAMPLER, recipe.SCHEDULER, 1]
