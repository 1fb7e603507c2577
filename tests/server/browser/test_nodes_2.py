"""The nodes in ComfyUI's Nodes 2.0, where a node is no drawing but a part of the page."""

import pytest
from older_comfyui import NEWEST, todays_page

from x2v_quant.demo import assets
from x2v_quant.demo.graph import WORKFLOWS, workflow

pytestmark = pytest.mark.slow

SCHEME = "dequant"


def titled(page, title):
    return page.locator("[data-node-id]", has=page.get_by_test_id("node-title").get_by_text(title, exact=True))


@todays_page
def test_every_template_has_room_for_its_nodes(opened):
    """They are higher here than on the canvas, and need more still with the words about a file that is missing."""
    with opened(**{"Comfy.VueNodes.Enabled": True}) as frontend:
        for name in sorted(path.stem for path in WORKFLOWS.glob("*.json")):
            frontend.open_template(name)
            frontend.page.locator("[data-node-id]").nth(len(workflow(name)["nodes"]) - 1).wait_for()
            frontend.page.wait_for_timeout(1000)
            assert frontend.outside_groups() == [], name


def test_text_to_video_with_another_scheme(opened):
    with opened(**{"Comfy.VueNodes.Enabled": True}) as frontend:
        frontend.open_template("1 Try it, no download")
        page = frontend.page
        page.locator("[data-node-id]").nth(len(workflow("1 Try it, no download")["nodes"]) - 1).wait_for()
        titled(page, "Quantization Scheme").get_by_test_id("widget-select-default-trigger").first.click()
        page.get_by_test_id("widget-select-default-search-input").fill(SCHEME)
        page.get_by_role("option", name=SCHEME, exact=True).click()
        assert frontend.value("X2VScheme", "dit") == SCHEME
        frontend.run()
        page.wait_for_function("() => document.querySelector('[data-node-id] video')?.videoWidth > 0")
        page.wait_for_timeout(1000)
        assert frontend.outside_groups() == [] or not NEWEST  # older pages draw nodes higher
        report = titled(page, "Kernel Report").inner_text()
        frontend.screenshot("nodes_2")
        assert f"{assets.names('int8').t2v}: scheme {SCHEME} on" in report
