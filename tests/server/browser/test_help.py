"""Node help, titles and tooltips as the page shows them, in English and in Chinese."""

import re

import pytest
from write_locales import read

from x2v_quant.core.on_path import PACK

pytestmark = pytest.mark.slow

DOCS = PACK / "web" / "docs"
NODES = ("X2VLoadDiT", "X2VScheme", "X2VSamplerPatch", "X2VQuantizeModel", "X2VKernelReport")


def written(page: str) -> tuple[str, str]:
    """A help page's heading and the first words of its first paragraph, without Markdown's marks."""
    heading, *blocks = (DOCS / page).read_text(encoding="utf-8").split("\n\n")
    paragraph = next(block for block in blocks if not block.startswith("#"))
    return heading.removeprefix("# "), re.split("[*`_]", paragraph)[0].strip()


def picture_is_shown(frontend) -> bool:
    picture = frontend.page.locator(".node-help-content .markdown-content img").first
    picture.wait_for()
    return picture.evaluate("async picture => (await picture.decode(), picture.naturalWidth)") > 300


def place(frontend, node):
    frontend.page.evaluate(
        """name => {
            app.graph.clear();
            const node = LiteGraph.createNode(name);
            app.graph.add(node);
        }""",
        node,
    )


@pytest.mark.parametrize("node", NODES)
def test_the_info_button_opens_the_help(frontend, node):
    place(frontend, node)
    text = frontend.help(node)
    frontend.screenshot(f"help_{node}")
    heading, words = written(f"{node}.md")
    assert text.startswith(heading) and len(words) > 10 and words in text
    assert picture_is_shown(frontend)


def test_in_chinese(opened):
    node, widget = "X2VScheme", "dit"
    names = read("zh")[node]
    with opened(**{"Comfy.Locale": "zh"}) as frontend:
        place(frontend, node)
        assert frontend.page.evaluate("() => app.graph.nodes[0].title") == names["display_name"]
        text = frontend.help(node)
        heading, words = written(f"{node}/zh.md")
        assert text.startswith(heading) and len(words) > 10 and words in text
        assert picture_is_shown(frontend)
        frontend.hover(node, widget)
        tooltip = frontend.page.locator(".node-tooltip")
        tooltip.wait_for()
        frontend.screenshot("chinese")
        assert tooltip.inner_text() == names["inputs"][widget]["tooltip"]
