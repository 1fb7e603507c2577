"""A workflow is found in whatever carries it; what carries none is refused with what to do."""

import json
import os
import struct

import av
import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file
from saved_workflows import INFO, node, workflow

from x2v_quant.headless.reading import read_workflow
from x2v_quant.headless.workflow import WorkflowError, to_prompt

GRAPH = workflow(node(1, "Loader", ["a.safetensors", "auto"], title="\u6a21\u578b"))
PROMPT = {"1": {"class_type": "Loader", "inputs": {"name": "a.safetensors"}, "_meta": {"title": "\u6a21\u578b"}}}
SENT = {"extra_pnginfo": {"workflow": GRAPH}}
RUN = [3, "b2c9", PROMPT, SENT, ["1"]]


@pytest.fixture
def put(tmp_path):
    def write(content, name="workflow.json"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings(put, encoding):
    assert read_workflow(put(json.dumps(GRAPH, ensure_ascii=False).encode(encoding))).graph == GRAPH


WRAPPED = {
    "a graph": (GRAPH, GRAPH, None),
    "a prompt": (PROMPT, None, PROMPT),
    "a request": ({"client_id": "x", "prompt": PROMPT, "extra_data": SENT}, GRAPH, PROMPT),
    "a request without a graph": ({"prompt": PROMPT}, None, PROMPT),
    "graphToPrompt": ({"workflow": GRAPH, "output": PROMPT}, GRAPH, PROMPT),
    "a wrapped graph": ({"workflow": GRAPH}, GRAPH, None),
    "texts": ({"workflow": json.dumps(GRAPH), "prompt": json.dumps(PROMPT)}, GRAPH, PROMPT),
    "/history/ID": ({"b2c9": {"prompt": RUN, "outputs": {}, "status": {}}}, GRAPH, PROMPT),
    "an entry of /history": ({"prompt": RUN, "outputs": {}}, GRAPH, PROMPT),
    "its prompt": (RUN, GRAPH, PROMPT),
    "/queue": ({"queue_running": [RUN], "queue_pending": []}, GRAPH, PROMPT),
    "a job of a service": ({"input": {"workflow": PROMPT}}, None, PROMPT),
    "another": ({"workflow_api": PROMPT, "workflow": GRAPH}, GRAPH, PROMPT),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers(put, name):
    content, graph, prompt = WRAPPED[name]
    found = read_workflow(put(content))
    assert (found.graph, found.prompt) == (graph, prompt)
    assert set(to_prompt(found.to_run, INFO)) == {"1"}


@pytest.mark.parametrize(
    "more",
    [
        {"_comment": "mine"},
        {"note": {"text": "mine"}},
        {"version": 2, "list": [1]},
        {"7": {"class_type": "Note", "inputs": {"text": "mine"}}},
        {"7": {"class_type": "Anything Everywhere", "inputs": {}}},
    ],
)
def test_remarks_in_a_prompt_are_ignored(put, more):
    assert to_prompt(read_workflow(put({**more, **PROMPT})).to_run, INFO) == PROMPT


@pytest.mark.parametrize("meta", [None, "title", {"title": 5}])
def test_what_a_prompt_says_for_people_may_be_anything(meta):
    assert to_prompt({"1": {**PROMPT["1"], "_meta": meta}}, INFO)["1"]["_meta"] == {}


@pytest.mark.parametrize(
    "entry",
    [{"inputs": {}}, {"class_type": "Loader"}, {"class_type": "Loader", "inputs": []}, {"class_type": 3, "inputs": {}}],
)
def test_a_damaged_node_of_a_prompt_is_named(entry):
    with pytest.raises(
        WorkflowError, match="node 7 has no class_type or no inputs: export the workflow for the API again"
    ):
        to_prompt({**PROMPT, "7": entry}, INFO)


@pytest.mark.parametrize("more", [{}, {"links": None}, {"links": []}])
def test_a_graph_without_links(put, more):
    found = read_workflow(put({"nodes": GRAPH["nodes"], "version": 0.4, **more}))
    assert set(to_prompt(found.to_run, INFO)) == {"1"}


def test_two_runs_of_a_queue(put):
    with pytest.raises(WorkflowError, match="has 2 runs: keep one of them"):
        read_workflow(put({"queue_running": [RUN], "queue_pending": [RUN]}))


def test_not_a_number_is_none(put):
    text = json.dumps(GRAPH).replace('"auto"', "NaN")
    assert read_workflow(put(text.encode())).graph["nodes"][0]["widgets_values"] == ["a.safetensors", None]


def png(path, texts):
    info = PngImagePlugin.PngInfo()
    for add, key, text in texts:
        getattr(info, add)(key, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)


def exif(path, texts):
    """As ComfyUI's Save Animated WEBP: one entry each, with its name before a colon."""
    picture = Image.new("RGB", (8, 8))
    table = picture.getexif()
    for number, (key, text) in enumerate(texts.items()):
        table[0x0110 - number] = f"{key}:{text}"
    picture.save(path, exif=table)


def video(path, texts, **options):
    with av.open(str(path), "w", **options) as container:
        container.metadata.update(texts)
        stream = container.add_stream("libvpx-vp9" if path.suffix == ".webm" else "libx264", rate=8)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for packet in stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))):
            container.mux(packet)
        container.mux(stream.encode(None))


def sound(path, texts):
    with av.open(str(path), "w") as container:
        container.metadata.update(texts)
        codec, kind = {".flac": ("flac", "s16"), ".mp3": ("libmp3lame", "s16p"), ".opus": ("libopus", "s16")}[
            path.suffix
        ]
        stream = container.add_stream(codec, rate=48000, layout="mono", format=kind)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.int16), format=kind, layout="mono")
        frame.sample_rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def animation(path, texts):
    """As ComfyUI's Save Animated PNG: chunks of its own, behind the picture's beginning."""
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add(b"comf", key.encode() + b"\0" + text.encode("latin-1"), after_idat=True)
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    pictures[0].save(path, pnginfo=info, save_all=True, append_images=pictures[1:])


def latent(path, texts):
    save_file({"latent_tensor": torch.zeros(1)}, path, texts)


def drawing(path, texts, head=""):
    """As ComfyUI's Save SVG: one object, if there is anything to write."""
    inside = ""
    if texts != {"prompt": NO_JSON}:
        content = json.dumps({key: json.loads(text) for key, text in texts.items()}, indent=4)
        inside = f"  <metadata>\n<![CDATA[\n{content}\n]]>\n  </metadata>"
    path.write_text(f'{head}<svg xmlns="http://www.w3.org/2000/svg">{inside}<path d="M0 0"/></svg>', encoding="utf-8")


def shape(path, texts):
    """As ComfyUI's Save GLB."""
    content = json.dumps({"asset": {"version": "2.0", "extras": texts}}).encode()
    path.write_bytes(struct.pack("<4sIII4s", b"glTF", 2, len(content) + 20, len(content), b"JSON") + content)


MP4 = {"options": {"movflags": "use_metadata_tags"}}
CARRIERS = {
    "picture.png": lambda path, texts: png(path, [("add_text", key, text) for key, text in texts.items()]),
    "packed.png": lambda path, texts: png(path, [("add_itxt", key, text) for key, text in texts.items()]),
    "animation.png": animation,
    "picture.webp": exif,
    "picture.jpg": exif,
    "video.mp4": lambda path, texts: video(path, texts, **MP4),
    "video.webm": video,
    "video of another pack.mp4": lambda path, texts: video(path, {"comment": json.dumps(texts)}, **MP4),
    "sound.flac": sound,
    "sound.mp3": sound,
    "sound.opus": sound,
    "latents.latent": latent,
    "drawing.svg": drawing,
    "drawing with a declaration.svg": lambda path, texts: drawing(path, texts, "<?xml version='1.0'?>\n"),
    "shape.glb": shape,
}
NO_JSON = "a dog, {not: json}"
BOTH = {"workflow": json.dumps(GRAPH), "prompt": json.dumps(PROMPT)}


@pytest.mark.parametrize("name", CARRIERS)
def test_a_file_carries_it(tmp_path, name):
    """Under any name."""
    CARRIERS[name](tmp_path / name, BOTH)
    moved = (tmp_path / name).rename(tmp_path / "renamed")
    found = read_workflow(moved)
    assert (found.graph, found.prompt) == (GRAPH, PROMPT)


@pytest.mark.parametrize(
    "name", ["picture.png", "picture.webp", "video.mp4", "sound.flac", "latents.latent", "drawing.svg", "shape.glb"]
)
def test_a_file_without_one_says_so(tmp_path, name):
    CARRIERS[name](tmp_path / name, {"prompt": NO_JSON})
    with pytest.raises(
        WorkflowError, match=r"is a [\w ]+ without a workflow in it: .*Take the original, or the workflow's"
    ):
        read_workflow(tmp_path / name)


@pytest.mark.parametrize("name", CARRIERS)
def test_a_damaged_file_is_refused(tmp_path, name):
    path = tmp_path / name
    CARRIERS[name](path, BOTH)
    whole = path.read_bytes()
    for size in (20, 200):
        path.write_bytes(whole[:size])
        with pytest.raises(WorkflowError, match=r"is a damaged|without a workflow"):
            read_workflow(path)


def test_a_chunk_that_claims_to_be_huge_is_passed_over(put):
    with pytest.raises(WorkflowError, match="without a workflow in it"):
        read_workflow(put(b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 2**32 - 1, b"tEXt") + b"workflow\0{}"))


def test_a_sparse_file_of_any_size_is_not_read(tmp_path):
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(WorkflowError, match="is larger than 100 MB, which no workflow is"):
        read_workflow(path)


DEEP = 100_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * DEEP + b"]" * DEEP, "more than 200 lists and objects inside each other"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "more than 200 lists and objects inside each other"),
        (b"{", r"is not JSON \("),
        (b"\n<!DOCTYPE html><html>", "is a web page: download the file that it shows"),
        (b"\xff\xfe{", r"is not JSON \("),
        ({"a1": {"prompt": RUN}, "a2": {"prompt": RUN}}, "has 2 runs: keep one of them"),
        ({"prompt": "a dog"}, "has no workflow"),
        ([], "has no workflow"),
        ({"nodes": [{"id": 1, "type": "Loader"}, {"id": 2}], "links": []}, "node 2 of the workflow has no type"),
    ],
    ids=[
        "deep",
        "deep for ComfyUI",
        "cut",
        "a web page",
        "cut UTF-16",
        "history",
        "a text",
        "a list",
        "a node without a type",
    ],
)
def test_what_is_refused(put, content, said):
    with pytest.raises(WorkflowError, match=said):
        read_workflow(put(content))


def test_what_is_no_file(tmp_path):
    with pytest.raises(WorkflowError, match=r"cannot be read: No such file or directory. Check the path"):
        read_workflow(tmp_path / "nowhere.json")
    with pytest.raises(WorkflowError, match=r"is no file. Check the path"):
        read_workflow(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(WorkflowError, match="is no file"):
            read_workflow(tmp_path / "pipe")
