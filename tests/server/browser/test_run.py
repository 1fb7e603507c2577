"""A first run by hand: another scheme from its widget, fewer steps, the run button, progress, the finished preview."""

import re

import pytest

from x2v_quant.demo import assets
from x2v_quant.demo.scenes import FRAMES, SIDE

pytestmark = pytest.mark.slow

SCHEME = "int8-reference"  # runs everywhere, and auto takes it nowhere
STEPS = 12
VIDEO_SIDE = 8 * SIDE  # of the template's Preview Size
# what the queue's overlay says while a job runs
WATCH = """() => {
    window.progressSeen = [];
    const look = () => progressSeen.push(document.querySelector('[data-testid=queue-progress-overlay]')?.textContent);
    new MutationObserver(look).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""
NODE_BAR = "() => app.graph.nodes.find(node => node.type === 'KSampler').progress > 0"
VIDEO = """() => [...document.querySelectorAll('video')].map(video => [video.videoWidth, video.videoHeight])
    .find(([width]) => width > 0)"""
# scrolls words to the top of the box that they are in; are they then really seen?
SCROLL_TO = """words => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (!texts.nextNode().data.includes(words));
    let box = texts.currentNode.parentElement;
    while (!['auto', 'scroll'].includes(getComputedStyle(box).overflowY)) box = box.parentElement;
    const range = document.createRange(), start = texts.currentNode.data.indexOf(words);
    range.setStart(texts.currentNode, start);
    range.setEnd(texts.currentNode, start + words.length);
    const zoom = box.getBoundingClientRect().height / box.offsetHeight;  // of the canvas
    box.scrollTop += (range.getBoundingClientRect().top - box.getBoundingClientRect().top) / zoom;
    const seen = range.getBoundingClientRect(), frame = box.getBoundingClientRect();
    return seen.height > 0 && seen.top > frame.top - 2 && seen.bottom < frame.bottom + 2;
}"""
COMPARE = "app.graph.nodes.find(node => node.type === 'X2VCompare')"
# the middles of the two pictures on the node, once both are loaded and drawn
PICTURES = f"""() => {{
    const node = {COMPARE};
    const loaded = node.imgs?.length === 2 && node.imgs.every(picture => picture.naturalWidth > 300);
    const {{scale, offset}} = app.canvas.ds;
    return loaded && node.imageRects?.length === 2 && node.imageRects.map(([x, y, width, height]) => ({{
        x: (node.pos[0] + x + width / 2 + offset[0]) * scale, y: (node.pos[1] + y + height / 2 + offset[1]) * scale,
    }}));
}}"""
FILES = {
    ("UNETLoader", "unet_name"): assets.names(assets.ORIGINAL).t2v,
    ("X2VLoadT5", "text_encoder_name"): assets.names("int8").t5,
    ("VAELoader", "vae_name"): assets.names(assets.ORIGINAL).vae,
}
SIZE = {"width": SIDE, "height": SIDE, "length": FRAMES}
SMALL = {"Compare Size": SIZE, "Video Size": SIZE, "X2VCompare": {"steps": 8}, "KSampler": {"steps": 2}}


def test_text_to_video_with_another_scheme(frontend):
    frontend.open_template("1 Try it, no download")
    page = frontend.page
    assert frontend.value("X2VScheme", "dit") == "auto"
    frontend.choose("X2VScheme", "dit", SCHEME)
    assert frontend.value("X2VScheme", "dit") == SCHEME
    assert frontend.value("KSampler", "steps") > STEPS
    frontend.enter("KSampler", "steps", STEPS)
    assert frontend.value("KSampler", "steps") == STEPS
    frontend.fit()
    page.evaluate(WATCH)
    frontend.run()
    page.wait_for_function(NODE_BAR)
    frontend.screenshot("another_scheme_runs")
    assert page.wait_for_function(VIDEO).json_value() == [VIDEO_SIDE, VIDEO_SIDE]
    said = " ".join(filter(None, page.evaluate("() => progressSeen")))
    percents = [int(percent) for percent in re.findall(r"KSampler\s*(\d+)%", said)]
    assert percents == sorted(percents) and percents[-1] > 0
    page.wait_for_timeout(1000)
    frontend.screenshot("another_scheme")
    report = frontend.value("X2VKernelReport", "$$node-text-preview")
    assert f"{assets.names('int8').t2v}: scheme {SCHEME} on" in report
    assert re.search(r"\d+ layers int8-channel -> reference$", report, re.MULTILINE)
    assert "int8 activations" not in report
    frontend.center("X2VKernelReport")
    frontend.screenshot("kernel_report")
    assert page.evaluate(SCROLL_TO, f"scheme {SCHEME} on")


def test_compare_shows_its_verdict_heat_map_and_plot(frontend):
    frontend.open_template("5 Compare quality")
    for (node, widget), file in FILES.items():
        frontend.choose(node, widget, file)
        assert frontend.value(node, widget) == file
    frontend.fill(SMALL)
    frontend.run()
    frontend.center("X2VCompare")  # pictures get their places only where they are seen
    heat_map, _ = frontend.page.wait_for_function(PICTURES).json_value()
    frontend.page.mouse.move(**heat_map)
    frontend.page.mouse.down()
    frontend.page.wait_for_function(f"() => {COMPARE}.pointerDown?.index === 0")
    frontend.page.mouse.up()
    frontend.page.wait_for_function(f"() => {COMPARE}.imageIndex === 0")  # large, in the node
    frontend.page.wait_for_timeout(1000)
    frontend.screenshot("compare")
    verdict, _, layers = frontend.value("X2VCompare", "$$node-text-preview").split("\n\n")
    assert re.match(r"(Hardly visible|Visible in details|Clearly .+): PSNR [\d.]+ dB", verdict)
    assert re.search(r"^blocks\.\d+\.\S+ = keep$", layers, re.MULTILINE)
    assert verdict in frontend.value("Report", "preview_text")
