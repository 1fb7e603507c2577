"""Offload Control in the real server: at the loaders, and behind any MODEL."""

import pytest
import torch

from x2v_quant.headless.client import ServerError

pytestmark = pytest.mark.slow

MODES = ("auto", "model", "block", "phase", "disk")


def control(mode="block", **inputs):
    settings = {"vram_budget_gb": 0.0, "prefetch": 1, "pinned_memory": True, "t5": "auto", "clip": "auto"}
    return {"class_type": "X2VOffloadControl", "inputs": {"mode": mode, **settings, **inputs}}


@pytest.fixture
def plain(graph, run):
    return run(graph()[0])[0]


@pytest.mark.parametrize("mode", MODES)
def test_at_the_loaders(mode, graph, run, plain, server):
    prompt, ids = graph()
    prompt["control"] = control(mode, t5="model", clip="disk", vram_budget_gb=0.5)
    for loader in ("X2VLoadDiT", "X2VLoadT5"):
        prompt[ids[loader]]["inputs"]["offload"] = ["control", 0]
    assert torch.equal(run(prompt)[0], plain)


@pytest.mark.parametrize("mode", MODES)
def test_behind_a_model(mode, graph, run, plain):
    prompt, ids = graph()
    for entry in prompt.values():
        for name, value in entry["inputs"].items():
            if value == [ids["X2VLoadDiT"], 0]:
                entry["inputs"][name] = ["control", 1]
    prompt["control"] = control(mode, model=[ids["X2VLoadDiT"], 0])
    assert torch.equal(run(prompt)[0], plain)


def test_what_a_cpu_cannot_do_is_said(graph, run, server):
    prompt, ids = graph()
    prompt["control"] = control("phase")
    prompt[ids["X2VLoadDiT"]]["inputs"]["offload"] = ["control", 0]
    run(prompt)
    assert (
        "the model runs on the CPU, where there is nothing to move: phase is treated as auto" in server.log.read_text()
    )


def test_a_mode_that_is_none_is_refused(graph, server):
    prompt, ids = graph()
    prompt["control"] = control("blocks")
    prompt[ids["X2VLoadDiT"]]["inputs"]["offload"] = ["control", 0]
    with pytest.raises(ServerError, match="blocks"):
        server.client.run(prompt)
