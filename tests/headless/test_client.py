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


def test_refusal_names_node_type_and_reason():
    complaint = {"message": "Value not in list", "details": "model_name: 'x' not in []"}
    text = refusal(
        {
            "error": {"message": "Prompt outputs failed validation", "details": ""},
            "node_errors": {"3": {"class_type": "X2VLoadDiT", "errors": [complaint]}},
        }
    )
    assert text.splitlines() == [
        "the server refused the prompt: Prompt outputs failed validation",
        "node 3 (X2VLoadDiT): Value not in list: model_name: 'x' not in []",
    ]


def test_what_a_node_itself_refuses_is_said_once_and_alone():
    same = {"type": "custom_validation_failed", "message": "Custom validation failed for node"}
    errors = [{**same, "details": f"{name} - x is not in models/vae."} for name in ("dit", "t5")]
    text = refusal({"node_errors": {"3": {"class_type": "X2VLoadDiT", "errors": errors}}})
    assert text.splitlines()[1:] == ["node 3 (X2VLoadDiT): x is not in models/vae."]


def test_failure_names_node_type_and_message():
    data = {"node_id": "3", "node_type": "X2VLoadDiT", "exception_type": "ValueError"}
    data["exception_message"] = "no scale\n"
    assert failure("execution_error", data) == "node 3 (X2VLoadDiT) failed with ValueError: no scale"
    data["exception_type"] = "torch.cuda.SomeError"
    assert failure("execution_error", data) == "node 3 (X2VLoadDiT) failed with SomeError: no scale"
    data["exception_type"] = "x2v-quant"
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
