"""Quantization Scheme's lists in the server, and values that they lack: of other machines and of old graphs."""

import pytest
import torch

from x2v_quant.kernels.machine import describe
from x2v_quant.schemes import AUTO, EVERYWHERE, SCHEMES
from x2v_quant.schemes.offered import offered

pytestmark = pytest.mark.slow

SETTINGS = {"compute_dtype": AUTO, "strict": False, "transcode": False}


def test_the_lists_have_what_can_run_here(object_info):
    cpu = describe(torch.device("cpu"))
    for component in EVERYWHERE:
        spec = object_info["X2VScheme"]["input"]["required"][component]
        assert spec[1]["options"] == list(offered(component, cpu))
        assert len(spec[1]["options"]) < len(SCHEMES)


@pytest.mark.parametrize("component", EVERYWHERE)
def test_every_name_there_ever_was_is_taken_and_kept(server, component):
    names = [name for row in SCHEMES if component in row.components for name in (row.name, *row.aliases)]
    prompt = {}
    for name in names:
        inputs = dict.fromkeys(EVERYWHERE, AUTO) | SETTINGS | {component: name}
        prompt[f"scheme {name}"] = {"class_type": "X2VScheme", "inputs": inputs}
        prompt[name] = {"class_type": "PreviewAny", "inputs": {"source": [f"scheme {name}", 0]}}
    texts = {node: output["text"][0] for node, output in server.client.run(prompt).outputs.items()}
    assert [name for name in names if f"{component}='{name}'" not in texts[name]] == []
