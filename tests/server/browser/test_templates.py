"""Every published workflow, opened from the templates dialog."""

from pathlib import Path
from urllib.parse import quote

import pytest

from x2v_quant.demo.graph import WORKFLOWS, workflow
from x2v_quant.headless.server import PACK_NAME
from x2v_quant.headless.workflow import to_prompt

pytestmark = pytest.mark.slow

NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
MISSING_NODE_WORDS = ("missing node", "Missing Node", "Some Nodes Are Missing")
UNREGISTERED = "() => app.graph.nodes.filter(n => !(n.type in LiteGraph.registered_node_types)).map(n => n.type)"


def absent(saved, models: Path) -> set[str]:
    """The files that a workflow's widgets name, links to a download and that the server does not have."""
    return {
        model["name"]
        for node in saved["nodes"]
        for model in node.get("properties", {}).get("models", ())
        if model["name"] in node["widgets_values"] and not (models / model["directory"] / model["name"]).exists()
    }


def test_the_dialog_lists_each_workflow_with_its_picture(frontend):
    frontend.open_templates()
    cards = frontend.page.locator("[data-testid^=template-workflow-]")
    frontend.card(NAMES[0]).wait_for()
    assert sorted(card.removeprefix("template-workflow-") for card in
                  cards.evaluate_all("cards => cards.map(card => card.dataset.testid)")) == NAMES  # fmt: skip
    for name in NAMES:
        frontend.card(name).scroll_into_view_if_needed()
        picture = frontend.card(name).locator("img")
        picture.wait_for()
        assert picture.evaluate("async picture => (await picture.decode(), picture.naturalWidth)") > 300
        assert frontend.answers[f"{frontend.url}/api/workflow_templates/{PACK_NAME}/{quote(name, safe=',')}.jpg"] == (
            200,
            "image/jpeg",
        )
    cards.first.evaluate("card => card.scrollIntoView({block: 'end'})")
    cards.first.locator("img").wait_for()
    frontend.page.wait_for_timeout(500)
    frontend.screenshot("templates")
    frontend.page.keyboard.press("Escape")


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_opens_whole(frontend, server, object_info, name):
    saved = workflow(name)
    frontend.open_template(name)
    page = frontend.page
    assert page.evaluate("() => app.graph.nodes.length") == len(saved["nodes"])
    assert page.evaluate(UNREGISTERED) == []
    # files that are not there yet are offered for download, and nothing else is missing
    wanted = absent(saved, server.base / "models")
    problems = frontend.problems(expected=bool(wanted))
    frontend.screenshot(f"opened_{name}")
    offered = page.get_by_test_id("missing-model-download").count()
    frontend.close_panel()
    assert set(problems) <= {"missing-model", "missing-media"}
    assert not [words for words in MISSING_NODE_WORDS if words in page.inner_text("body")]
    assert [file for file in wanted if file not in problems.get("missing-model", "")] == []
    assert offered == len(wanted)
    # the frontend's own conversion and ours make the same prompt
    theirs = page.evaluate("async () => (await app.graphToPrompt()).output")
    ours = to_prompt(saved, object_info)
    assert {node: entry["inputs"] for node, entry in theirs.items()} == {
        node: entry["inputs"] for node, entry in ours.items()
    }
