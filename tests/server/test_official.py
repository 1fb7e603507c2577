"""ComfyUI's official workflow templates, with our loaders swapped in: the real server accepts them, and those of the
families that a CPU can run in small are run.

Run with the template's own nodes and links; only sizes and steps are smaller. Small models lie under the names that the
template has. No small text encoder can be loaded by core's own loaders, which build the full size whatever the file
holds: where ours does not stand in, tests/server/small_pack does, with core's own encoders and tokenizers in small.
"""

import re
from collections import Counter
from pathlib import Path

import official_models
import official_templates
import pytest
import requests
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from x2v_quant.demo.graph import node_of
from x2v_quant.demo.run import saved_video
from x2v_quant.demo.video import frames
from x2v_quant.headless.client import ServerError
from x2v_quant.headless.server import serve
from x2v_quant.headless.swap import swap
from x2v_quant.headless.workflow import WorkflowError, to_prompt

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(official_templates.folder() is None, reason=f"{official_templates.PACKAGE} is not installed"),
]

SMALL_PACK = Path(__file__).parent / "small_pack"
OURS = ("X2VLoadDiT", "X2VLoadT5", "X2VLoadCLIPVision")
PROMISED = 20
MOST = 0.8  # of the templates that have a loader of ours after the swap
# nodes that take a file from the input folder
READERS = ("LoadImage", "LoadImageMask", "LoadVideo", "LoadAudio", "LoadImageOutput")
# why the server takes a workflow neither before nor after the swap, as far as seen
OF_THE_WORKFLOW = (
    "unknown to this server: install its node pack",
    "Prompt has no outputs",  # every node that saves is bypassed
    "Required input is missing",  # of a node that nothing is linked to
)


@pytest.fixture(scope="module")
def templates():
    return official_templates.with_loaders()


@pytest.fixture(scope="module")
def official(templates, demo_models, tmp_path_factory):
    """A server that has every model and input that a template names, those of official_models in small and the rest
    empty."""
    base = tmp_path_factory.mktemp("official")
    for workflow in templates.values():
        for node in official_templates.all_nodes(workflow):
            names = [base / "models" / m["directory"] / m["name"] for m in node["properties"].get("models", [])]
            if node["type"] in READERS and node.get("widgets_values"):
                names.append(base / "input" / node["widgets_values"][0])
            for name in names:
                name.parent.mkdir(parents=True, exist_ok=True)
                name.touch()
    official_models.write(base / "models", demo_models)
    with serve(base, cpu=True, more_packs=[SMALL_PACK]) as server:
        yield server


@pytest.fixture(scope="module")
def info(official):
    return official.client.object_info()


@pytest.fixture
def held(official):
    """While the queue is held, the server validates what it is sent and runs none of it."""
    official.client.submit({"1": {"class_type": "HoldQueue", "inputs": {}}})
    yield official.client
    requests.post(f"{official.url}/queue", json={"clear": True}, timeout=60)
    official.client.interrupt()


def refusal(client, workflow, info):
    """(why the server does not take a workflow, "" if it does; the classes of its nodes)."""
    try:
        prompt = to_prompt(workflow, info)
        client.submit(prompt)
    except (WorkflowError, ServerError) as error:
        return str(error), set()
    return "", {entry["class_type"] for entry in prompt.values()}


def test_swapped_templates_are_valid(templates, held, info):
    """Every template with one of the loaders. One that is refused was so before the swap, for the same reason."""
    count = Counter()
    for name, workflow in templates.items():
        changed, loaders = swap(workflow, {})
        swapped = {loader.now for loader in loaders if loader.now}
        if not swapped:
            assert all(loader.why for loader in loaders), name
            count["no loader that ours stands in for"] += 1
            continue
        why, classes = refusal(held, changed, info)
        if why:
            assert refusal(held, workflow, info)[0] == why, name
            count[next((known for known in OF_THE_WORKFLOW if known in why), why)] += 1
        else:
            count["valid" if classes & swapped else "valid, its loaders bypassed"] += 1
    print(dict(count))
    assert count["valid"] >= PROMISED
    assert count["valid"] >= MOST * (count.total() - count["no loader that ours stands in for"])


WIDTH = HEIGHT = 64
SIZES = {"width": WIDTH, "height": HEIGHT, "length": 5, "steps": 2, "start_at_step": 0, "end_at_step": 2}
SMALL_LOADERS = {"CLIPLoader": "SmallCLIPLoader", "DualCLIPLoader": "SmallDualCLIPLoader"}
# of two experts, which take a step each
EXPERTS = {("enable", "end_at_step"): 1, ("disable", "start_at_step"): 1}

FAMILIES = {
    "Wan 2.1 t2v": "text_to_video_wan",
    "Wan 2.1 i2v": "image_to_video_wan",
    "Wan 2.2 A14B": "video_wan2_2_14B_t2v",
    "Wan 2.2 5B": "video_wan2_2_5B_ti2v",
    "Qwen-Image": "image_qwen_image",
    "Z-Image": "image_z_image_turbo",
    "Flux": "flux_dev_full_text_to_image",
    "Flux.2": "image_flux2_klein_text_to_image",
    "HunyuanVideo 1.5": "video_hunyuan_video_1.5_720p_t2v",
}


def small(prompt):
    """The prompt with small sizes, few steps and, for core's loaders of text encoders, those of small ones."""
    for entry in prompt.values():
        inputs = entry["inputs"]
        for name in SIZES.keys() & inputs.keys():
            inputs[name] = EXPERTS.get((inputs.get("add_noise"), name), SIZES[name])
        entry["class_type"] = SMALL_LOADERS.get(entry["class_type"], entry["class_type"])
    return prompt


@pytest.mark.parametrize("family", FAMILIES)
def test_families_run(official, info, family):
    changed, loaders = swap(official_templates.read(FAMILIES[family]), {})
    assert "X2VLoadDiT" in {loader.now for loader in loaders}
    prompt = small(to_prompt(changed, info))
    for reader in [entry for entry in prompt.values() if entry["class_type"] == "LoadImage"]:
        picture = torch.linspace(0, 255, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).byte().numpy()
        Image.fromarray(picture).save(official.base / "input" / reader["inputs"]["image"])
    dits = [node for node, entry in prompt.items() if entry["class_type"] == "X2VLoadDiT"]
    for number, node in enumerate(dits):
        prompt[f"report {number}"] = {"class_type": "X2VKernelReport", "inputs": {"model": [node, 0]}}
    result = official.client.run(prompt)
    for number in range(len(dits)):
        (report,) = result.outputs[f"report {number}"]["text"]
        assert re.search(r"[1-9]\d* layers int8-channel ->", report.partition("DiT:")[2])
    pictures = shown(official, prompt, result)
    assert pictures.shape[-3:-1] == (HEIGHT, WIDTH)
    assert pictures.float().std() > 0.01


def shown(server, prompt, result):
    """What the workflow saved, [..., height, width, 3] in 0 to 1."""
    if "SaveVideo" in {entry["class_type"] for entry in prompt.values()}:
        return frames(saved_video(server, result, node_of(prompt, "SaveVideo")))
    (file,) = result.files()
    with Image.open(server.base / "output" / file["subfolder"] / file["filename"]) as picture:
        return pil_to_tensor(picture).movedim(0, -1) / 255
