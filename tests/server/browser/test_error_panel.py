"""What ComfyUI's page shows of an error: our sentence, on the node too, and the folder of a file that is missing."""

import pytest
from older_comfyui import todays_page

from x2v_quant.demo import assets

pytestmark = pytest.mark.slow

TEMPLATE = "1 Try it, no download"
LOADER = "X2VLoadDiT"
BROKEN = "broken_download.safetensors"
CUT = f"{BROKEN} is cut off inside its header. Download it again."
GONE = "gone.safetensors"
TEXT = f"() => app.graph.nodes.find(node => node.type === '{LOADER}').widgets.at(-1).value"


@pytest.fixture
def broken(server):
    file = server.base / "models" / "diffusion_models" / BROKEN
    file.write_bytes(b'\x08\0\0\0\0\0\0\0{"a":')
    yield BROKEN
    file.unlink()


def failed(frontend, model):
    """The errors panel, after a run with this model."""
    frontend.open_template(TEMPLATE)
    frontend.fill({LOADER: {"model_name": model}})
    frontend.run()
    frontend.page.get_by_test_id("error-overlay-see-errors").click()
    return frontend.page.get_by_test_id("properties-panel")


def test_a_failed_run_shows_the_sentence_in_the_panel_and_on_the_node(frontend, broken):
    panel = failed(frontend, broken)
    report = panel.get_by_test_id("runtime-error-panel")
    report.get_by_text(CUT).wait_for()
    text = report.inner_text().partition("## Stack Trace")[0]
    assert f"x2v-quant: {CUT}" in text
    assert "x2v_quant." not in text
    assert frontend.page.evaluate(TEXT) == CUT
    frontend.screenshot("error_on_node")
    # the next run takes it away
    frontend.close_panel()
    frontend.fill({LOADER: {"model_name": assets.names("int8").t2v}})
    frontend.run()
    frontend.page.wait_for_function(f"() => !({TEXT})().includes('{BROKEN}')")


@todays_page
def test_a_missing_file_is_told_with_its_folder(frontend):
    panel = failed(frontend, GONE)
    panel.get_by_role("button", name="Info for").click()
    said = panel.locator("[id^=execution-item-detail]").inner_text()
    assert f"model_name - {GONE} is not in models/diffusion_models. Download it there" in said
    frontend.page.wait_for_timeout(1000)  # until it has unfolded
    frontend.screenshot("missing_file")
