"""The published workflows open in the real frontend, in a real browser, without a missing node."""

import os
import shutil

import pytest

from x2v_quant.demo.graph import workflow
from x2v_quant.headless.workflow import to_prompt

playwright = pytest.importorskip("playwright.sync_api", reason="the playwright package is not installed")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
# /usr/bin/chromium runs as root only without its sandbox; the rest keeps it off the network
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_TIMEOUT = 120_000  # milliseconds; the frontend asks the server for every node first
# the frontend opens a workflow of its own at the end of its start; one loaded before is replaced by it
READY = """() => !!window.app?.extensionManager?.workflow?.activeWorkflow
    && 'X2VLoadDiT' in window.LiteGraph.registered_node_types"""
MISSING_NODE_WORDS = ("missing node", "Missing Node", "Some Nodes Are Missing")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason=f"no browser on PATH (looked for {', '.join(BROWSERS)})"),
]


@pytest.fixture(scope="module")
def page(server):
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.route(lambda url: not url.startswith(server.url), lambda route: route.abort())
        page.goto(server.url, timeout=START_TIMEOUT)
        page.wait_for_function(READY, timeout=START_TIMEOUT)
        yield page
        browser.close()


TEMPLATES = (
    *("wan_t2v_quantized", "wan_i2v_quantized", "wan22_i2v_4step", "demo_t2v", "demo_i2v"),
    *("quantize_and_save", "calibrate", "compare", "low_vram"),
)


@pytest.mark.parametrize("name", TEMPLATES)
def test_workflow_opens_whole(page, object_info, tmp_path, name):
    saved = workflow(name)
    page.evaluate("workflow => window.app.loadGraphData(workflow)", saved)
    page.wait_for_function("count => window.app.graph.nodes.length === count", arg=len(saved["nodes"]))
    page.wait_for_timeout(1000)
    text = page.inner_text("body")
    page.keyboard.press("Escape")  # the templates that a first start offers
    page.wait_for_timeout(500)
    page.screenshot(path=os.environ.get("X2V_SCREENSHOTS", str(tmp_path)) + f"/{name}.png")
    unregistered = page.evaluate(
        "() => window.app.graph.nodes.filter(n => !(n.type in LiteGraph.registered_node_types)).map(n => n.type)"
    )
    assert unregistered == []
    assert not [words for words in MISSING_NODE_WORDS if words in text]
    # the frontend's own conversion and ours make the same prompt
    theirs = page.evaluate("async () => (await window.app.graphToPrompt()).output")
    ours = to_prompt(saved, object_info)
    assert {node: entry["inputs"] for node, entry in theirs.items()} == {
        node: entry["inputs"] for node, entry in ours.items()
    }


def test_kernel_report_shows_its_text_on_the_node(page, tmp_path):
    page.evaluate(
        """() => {
            window.app.graph.clear();
            const node = window.LiteGraph.createNode("X2VKernelReport");
            window.app.graph.add(node);
            node.pos = [300, 200];
            node.setSize([700, 400]);
        }"""
    )
    page.evaluate("() => window.app.queuePrompt(0)")
    shown = "() => JSON.stringify((window.app.graph.nodes[0].widgets ?? []).map(widget => widget.value))"
    page.wait_for_function(f"() => ({shown})().includes('int8-channel')", timeout=60_000)
    page.keyboard.press("Escape")  # the templates that a first start offers
    page.wait_for_timeout(1000)
    page.screenshot(path=os.environ.get("X2V_SCREENSHOTS", str(tmp_path)) + "/kernel_report.png")
    assert "dequant: yes" in page.evaluate(shown)
