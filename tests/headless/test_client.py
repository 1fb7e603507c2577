"""What a person reads when the server refuses or fails."""

import http.server
import threading

import pytest

from x2v_quant.headless.client import Client, Result, ServerError, SilentError
from x2v_quant.headless.complaints import failure, refusal
from x2v_quant.headless.server import free_port


class Page(http.server.BaseHTTPRequestHandler):
    """Another web server, which has a page for everything."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html></html>")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def page():
    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


LOADERS = {
    "3": {"class_type": "UNETLoader", "inputs": {"unet_name": "wan.safetensors"}},
    "4": {"class_type": "KSampler", "inputs": {"sampler_name": "eulr", "steps": 0}},
    "5": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}},
}


def refused(node, **complaint):
    """What is said of one complaint about a node of LOADERS."""
    report = {"class_type": LOADERS[node]["class_type"], "errors": [complaint]}
    first, *rest = refusal(
        {"error": {"message": "Prompt outputs failed validation"}, "node_errors": {node: report}}, LOADERS, SAVED
    ).splitlines()
    assert first == "the server refused the workflow"
    return rest


SAVED = {"nodes": []}
LISTED = {"type": "value_not_in_list", "message": "Value not in list", "details": "x: 'y' not in (list of length 99)"}


@pytest.mark.parametrize("where", ["top", "subgraph"])
def test_a_missing_file_is_told_with_its_folder(where, monkeypatch):
    listed = {"name": "wan.safetensors", "directory": "diffusion_models/wan", "url": "https://example.org/wan"}
    graph = {"nodes": [{"properties": {"models": [listed]}}, {"properties": None}, 7]}
    error = {**LISTED, "extra_info": {"input_name": "unet_name"}}
    assert refused("3", **error) == [
        "node 3 (UNETLoader): Missing: wan.safetensors. Put it into models/diffusion_models."
    ]
    saved = graph if where == "top" else {"nodes": [], "definitions": {"subgraphs": [graph]}}
    monkeypatch.setitem(globals(), "SAVED", saved)
    assert refused("3", **error) == [
        "node 3 (UNETLoader): Missing: wan.safetensors. Put it into models/diffusion_models/wan (download: "
        "https://example.org/wan)."
    ]


@pytest.mark.parametrize(
    "spec,words",
    [
        ([["euler", "heun"], {}], "It takes euler, heun. Did you mean 'euler'?"),
        (["COMBO", {"options": [f"euler{number}" for number in range(10)]}], "euler7 and 2 more"),
        (None, "sampler_name has no 'eulr' here."),
    ],
)
def test_a_word_that_is_not_in_a_list_is_told_with_a_short_one(spec, words):
    (line,) = refused("4", **LISTED, extra_info={"input_name": "sampler_name", "input_config": spec})
    assert line.startswith("node 4 (KSampler): sampler_name has no 'eulr' here.") and words in line
    assert not line.endswith("?.")


def test_other_complaints_are_told_as_the_server_says_them():
    assert refused("4", type="value_smaller_than_min", message="Value 0 smaller than min of 1", details="steps") == [
        "node 4 (KSampler): Value 0 smaller than min of 1: steps"
    ]
    own = {"type": "custom_validation_failed", "message": "Custom validation failed for node"}
    assert refused("3", **own, details="layers - Line 1 is no rule.") == ["node 3 (UNETLoader): Line 1 is no rule."]
    image = {**own, "extra_info": {"input_name": "image"}, "details": "image - Invalid image file: cat.png"}
    assert refused("5", **image) == ["node 5 (LoadImage): Missing: cat.png. Put it into ComfyUI's input folder."]


def test_a_file_that_is_missing_for_two_inputs_is_told_once():
    listed = {"name": "wan.safetensors", "directory": "diffusion_models"}
    own = {"type": "custom_validation_failed", "message": "Custom validation failed for node"}
    errors = [
        {**own, "details": f"{name} - wan.safetensors is not in models/x.", "extra_info": {"input_name": name}}
        for name in ("unet_name", "weight_dtype")
    ]
    prompt = {"3": {"inputs": {"unet_name": "wan.safetensors", "weight_dtype": "default"}}}
    text = refusal(
        {"node_errors": {"3": {"errors": errors}}}, prompt, {"nodes": [{"properties": {"models": [listed]}}]}
    )
    assert text.splitlines()[1:] == ["node 3 (): Missing: wan.safetensors. Put it into models/diffusion_models."]


def test_what_a_node_itself_refuses_is_said_once_and_alone():
    same = {"type": "custom_validation_failed", "message": "Custom validation failed for node"}
    errors = [{**same, "details": f"{name} - x is not in models/vae."} for name in ("dit", "t5")]
    text = refusal({"node_errors": {"3": {"class_type": "X2VLoadDiT", "errors": errors}}}, LOADERS)
    assert text.splitlines()[1:] == ["node 3 (X2VLoadDiT): x is not in models/vae."]


@pytest.mark.parametrize("said,shown", [("no scale\n", "no scale"), ("", "CheckpointError")])
def test_failure_names_node_type_and_message_without_a_class_path(said, shown):
    data = {"node_id": "3", "node_type": "X2VLoadDiT", "exception_type": "x2v_quant.checkpoints.errors.CheckpointError"}
    assert failure("execution_error", {**data, "exception_message": said}) == f"node 3 (X2VLoadDiT) failed: {shown}"


def test_failure_of_ours_is_the_sentence_alone():
    data = {"node_id": "3", "node_type": "X2VLoadDiT", "exception_type": "x2v-quant", "exception_message": "no scale"}
    assert failure("execution_error", data) == "node 3 (X2VLoadDiT): no scale"


def test_an_interruption_names_the_node():
    data = {"node_id": "7", "node_type": "KSampler"}
    assert failure("execution_interrupted", data) == "interrupted in node 7 (KSampler)"


def test_files_are_found_among_other_outputs():
    file = {"filename": "a.mp4", "subfolder": "video", "type": "output"}
    outputs = {"1": {"text": ["a report"]}, "2": {"images": [file], "animated": [True]}}
    assert Result("id", outputs).files() == [file]


def test_another_server_is_no_comfyui(page):
    for ask in (Client(page).object_info, lambda: Client(page).submit({})):
        with pytest.raises(ServerError, match=f"{page} is no ComfyUI: what answers there sends no JSON"):
            ask()
    with pytest.raises(ServerError, match=f"{page}/ws does not answer as ComfyUI does: "):
        Client(page).run({})


def test_a_server_that_is_gone():
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ServerError, match=f"{url} does not answer: "):
        Client(url).object_info()


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8188", "localhost:8188", "http://", "ftp://localhost", "http://[::1", "", "x"]
)
def test_what_is_no_address(url):
    with pytest.raises(SilentError, match=r"is no address of a server\. Addresses are like http://127\.0\.0\.1:8188"):
        Client(url)
