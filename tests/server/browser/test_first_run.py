"""Install, open the first template, press Run: a video, in a ComfyUI that has nothing but this pack."""

import pytest
from published_pack import install, published_names

from x2v_quant.demo.graph import WORKFLOWS
from x2v_quant.demo.prompts import said, wrong
from x2v_quant.demo.reading import read
from x2v_quant.demo.video import frames
from x2v_quant.headless.server import serve

pytestmark = pytest.mark.slow

# of templates, in the order of their names
FIRST = min(path.stem for path in WORKFLOWS.glob("*.json"))
# what ComfyUI and Python write for themselves: settings, previews, the log of `serve`, compiled modules
THEIRS = ("user", "temp", "server.log", "__pycache__")
VIDEO = "() => [...document.querySelectorAll('video')].some(video => video.videoWidth > 0)"
# language of the page -> what the picture of it is called, which the README of that language shows
SCREENSHOTS = {"en": "demo_t2v", "zh": "demo_t2v_zh"}


@pytest.fixture(scope="module", params=SCREENSHOTS)
def language(request):
    """Of the page."""
    return request.param


@pytest.fixture(scope="module")
def server(language, tmp_path_factory):
    """A fresh one for each language, with the pack as it is installed: copied, without tests."""
    base = tmp_path_factory.mktemp("first_run")
    install(published_names(tmp_path_factory.mktemp("repository")), base)
    with serve(base, cpu=True) as running:
        yield running


def files(base):
    """Every file below a folder and when it was written, but THEIRS."""
    found = (path.relative_to(base) for path in base.rglob("*"))
    return {
        path.as_posix(): (base / path).stat().st_mtime_ns
        for path in found
        if (base / path).is_file() and not set(path.parts) & set(THEIRS)
    }


def test_the_first_template_makes_a_video(opened, server, language):
    before = files(server.base)
    with opened(**{"Comfy.Locale": language}) as frontend:
        frontend.open_templates()
        frontend.card(FIRST).wait_for()
        assert frontend.cards()[0] == FIRST
        frontend.page.keyboard.press("Escape")
        frontend.open_template(FIRST)
        prompt = frontend.value("Positive Prompt", "text")
        assert frontend.problems(expected=False) == {}
        frontend.run()
        frontend.page.wait_for_function(VIDEO)
        frontend.page.wait_for_timeout(1000)
        assert frontend.outside_groups() == []
        frontend.fit()
        frontend.screenshot(SCREENSHOTS[language])
    written = files(server.base)
    assert {name: written.get(name) for name in before} == before
    (video,) = set(written) - set(before)
    assert video.startswith("output/")
    assert wrong(said(prompt), read(frames(server.base / video))) == []
