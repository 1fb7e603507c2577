"""Every published workflow, opened from the templates dialog."""

from itertools import pairwise
from pathlib import Path

import pytest
from older_comfyui import NEWEST

from x2v_quant.demo.graph import WORKFLOWS, workflow
from x2v_quant.headless.server import PACK_NAME
from x2v_quant.headless.workflow import to_prompt

pytestmark = pytest.mark.slow

NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
MISSING_NODE_WORDS = ("missing node", "Missing Node", "Some Nodes Are Missing")
UNREGISTERED = "() => app.graph.nodes.filter(n => !(n.type in LiteGraph.registered_node_types)).map(n => n.type)"


SIZE = 2**30  # bytes that each download is said to have
HEADERS = {"content-length": str(SIZE), "access-control-allow-origin": "*"}


def absent(saved, models: Path) -> dict[str, str]:
    """{file that a workflow lists and the server does not have: its folder}"""
    return {
        model["name"]: model["directory"]
        for node in saved["nodes"]
        for model in node.get("properties", {}).get("models", ())
        if not (models / model["directory"] / model["name"]).exists()
    }


@pytest.fixture(scope="module")
def sized(frontend):
    """The page, with a size for every download: it asks for its headers."""
    frontend.page.route("https://huggingface.co/**", lambda route: route.fulfill(headers=HEADERS))
    return frontend


def test_the_dialog_lists_each_workflow_with_its_picture(frontend):
    frontend.open_templates()
    frontend.card(NAMES[0]).wait_for()
    assert frontend.cards() == NAMES
    for name in NAMES:
        frontend.card(name).scroll_into_view_if_needed()
        picture = frontend.card(name).locator("img")
        picture.wait_for()
        assert picture.evaluate("async picture => (await picture.decode(), picture.naturalWidth)") > 300
        assert frontend.answers[f"{frontend.url}/api/workflow_templates/{PACK_NAME}/{name}.jpg"] == (200, "image/jpeg")
    first = frontend.card(NAMES[0])
    first.evaluate("card => card.scrollIntoView({block: 'end'})")
    first.locator("img").wait_for()
    frontend.page.wait_for_timeout(500)
    frontend.screenshot("templates")
    frontend.page.keyboard.press("Escape")


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_opens_whole(sized, server, object_info, name):
    frontend, saved = sized, workflow(name)
    frontend.open_template(name)
    page = frontend.page
    assert page.evaluate("() => app.graph.nodes.length") == len(saved["nodes"])
    assert page.evaluate(UNREGISTERED) == []
    assert frontend.outside_groups() == []
    # files that are not there yet are offered for download, with folder and size, and nothing else is missing
    wanted = absent(saved, server.base / "models")
    problems = frontend.problems(expected=bool(wanted))
    frontend.screenshot(f"opened_{name}")
    offered = page.get_by_test_id("missing-model-download").count()
    if wanted:
        page.get_by_test_id("missing-model-download-all").get_by_text(f"Download all ({len(wanted)} GB)").wait_for()
    rows = page.get_by_test_id("properties-panel").inner_text().splitlines() if wanted else []
    frontend.close_panel()
    assert set(problems) <= {"missing-model", "missing-media"}
    assert not [words for words in MISSING_NODE_WORDS if words in page.inner_text("body")]
    if NEWEST:  # older pages say neither beside a file
        assert {file: row for file, row in pairwise(rows) if file in wanted} == {
            file: f"{folder} \u00b7 1 GB" for file, folder in wanted.items()
        }
    assert [file for file in wanted if file not in problems.get("missing-model", "")] == []
    assert offered == len(wanted)
    # the frontend's own conversion and ours make the same prompt
    theirs = page.evaluate("async () => (await app.graphToPrompt()).output")
    ours = to_prompt(saved, object_info)
    assert {node: entry["inputs"] for node, entry in theirs.items()} == {
        node: entry["inputs"] for node, entry in ours.items()
    }
