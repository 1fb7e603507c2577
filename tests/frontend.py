"""ComfyUI's own page in a real browser, driven as a person drives it: with clicks and keys.

Where something is, and what is drawn on the canvas, is read through the page's own `window.app`.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import requests
from playwright.sync_api import BrowserContext, Page, Response, TimeoutError, sync_playwright

from x2v_quant.headless.server import PACK_NAME

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
CARD = "template-workflow-"  # and the name of a template: the test id of its card
VIEWPORT = {"width": 1600, "height": 1000}
START_TIMEOUT = 180_000  # milliseconds; the page asks the server for every node first
TIMEOUT = 60_000
LOST_CLICK = 20_000
# no greeting over the first clicks, and texts drawn however small the nodes are
SETTINGS = {
    "Comfy.Locale": "en",
    "Comfy.VueNodes.Enabled": False,
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,
}
# the page opens a workflow of its own at the end of its start; one loaded before is replaced by it
READY = """() => !!window.app?.extensionManager?.workflow?.activeWorkflow
    && 'X2VLoadDiT' in window.LiteGraph.registered_node_types"""
# a second tab of a name has a number behind it
OPENED = """name => app.extensionManager.workflow.activeWorkflow.filename.startsWith(name)
    && app.graph.nodes.length > 0"""
NODE = "const node = app.graph.nodes.find(node => node.title === name || node.type === name);"
# the middle of a node's title bar, or of a widget's row, in the page's pixels
PLACE = f"""([name, widget]) => {{
    {NODE}
    const row = widget ? node.widgets.find(found => found.name === widget).last_y + 12 : -14;
    const {{scale, offset}} = app.canvas.ds, page = app.canvas.canvas.getBoundingClientRect();
    return {{
        x: page.x + (node.pos[0] + node.size[0] / 2 + offset[0]) * scale,
        y: page.y + (node.pos[1] + row + offset[1]) * scale,
    }};
}}"""
# a node in the middle of the page, as large as fits under the menu
CENTER = f"""name => {{
    {NODE}
    const view = app.canvas.ds, page = app.canvas.canvas.getBoundingClientRect();
    view.scale = Math.min(1.2, 0.8 * page.width / node.size[0], 0.7 * page.height / node.size[1]);
    view.offset[0] = page.width / 2 / view.scale - node.pos[0] - node.size[0] / 2;
    view.offset[1] = page.height / 2 / view.scale - node.pos[1] - node.size[1] / 2;
    app.canvas.setDirty(true, true);
}}"""
# nodes that no group has around them, title bar included; notes are beside the groups
OUTSIDE = """() => app.graph.nodes.filter(({type, pos, size}) => type !== 'MarkdownNote' && !app.graph.groups.some(
    ({pos: [x, y], size: [width, height]}) => x <= pos[0] && y <= pos[1] - LiteGraph.NODE_TITLE_HEIGHT
        && pos[0] + size[0] <= x + width && pos[1] + size[1] <= y + height
)).map(node => node.title)"""


class Frontend:
    """One page. Nodes are named by their title or class, widgets by the name of the input."""

    def __init__(self, page: Page, url: str, screenshots: Path):
        self.page = page
        self.url = url
        self.screenshots = screenshots
        self.answers = {}  # URL -> (HTTP status, content type) of everything that the page fetched
        page.on("response", self._answered)

    def _answered(self, response: Response) -> None:
        self.answers[unquote(response.url)] = response.status, response.headers.get("content-type")

    def open_templates(self) -> None:
        """The templates dialog at the pack's own category."""
        self.page.locator(".templates-tab-button").click()
        self.page.get_by_role("button", name=PACK_NAME, exact=True).click()

    def open_template(self, name: str) -> None:
        """Opens the dialog, clicks the template's card and waits for its graph. The dialog draws its cards anew once it
        has filtered them: a click in between is lost, and made again."""
        self.close_panel()
        self.open_templates()
        cards = self.page.get_by_test_id("template-workflows-content")
        self.card(name).click()
        try:
            cards.wait_for(state="detached", timeout=LOST_CLICK)
        except TimeoutError:
            self.card(name).click()
            cards.wait_for(state="detached")
        self.page.wait_for_function(OPENED, arg=name)

    def cards(self) -> list[str]:
        """The names on the cards of the dialog, in its order."""
        cards = self.page.locator(f"[data-testid^={CARD}]")
        return [card.removeprefix(CARD) for card in cards.evaluate_all("all => all.map(card => card.dataset.testid)")]

    def card(self, name: str):
        return self.page.get_by_test_id(f"{CARD}{name}")

    def fit(self) -> None:
        """The whole graph on the page."""
        self.page.locator("#graph-canvas").press(".")
        self.page.wait_for_timeout(500)

    def outside_groups(self) -> list[str]:
        """The titles of the nodes that are larger than the room they have in a group."""
        return self.page.evaluate(OUTSIDE)

    def center(self, node: str) -> None:
        self.page.evaluate(CENTER, node)
        self.page.wait_for_timeout(300)  # drawn once: widgets know their rows

    def click(self, node: str, widget: str | None = None, clicks: int = 1) -> None:
        """On the node's title bar, or on a widget."""
        self.center(node)
        self.page.mouse.click(**self.page.evaluate(PLACE, [node, widget]), click_count=clicks)

    def hover(self, node: str, widget: str) -> None:
        self.center(node)
        place = self.page.evaluate(PLACE, [node, widget])
        self.page.mouse.move(place["x"] - 20, place["y"])
        self.page.mouse.move(**place, steps=3)

    def choose(self, node: str, widget: str, option: str) -> None:
        """From the list that a click on a combo opens."""
        self.click(node, widget)
        self.page.locator(".litecontextmenu").get_by_text(option, exact=True).click()

    def enter(self, node: str, widget: str, number: float) -> None:
        """Into a number's field, which a double click opens."""
        self.click(node, widget, clicks=2)
        field = self.page.locator(".graphdialog input.value")
        field.fill(str(number))
        field.press("Enter")

    def fill(self, values: dict[str, dict[str, object]]) -> None:
        """{node: {widget: value}} at once, where how a widget is used is not what is tested."""
        write = f"""values => {{
            for (const [name, widgets] of Object.entries(values)) {{
                {NODE}
                for (const [widget, value] of Object.entries(widgets))
                    node.widgets.find(found => found.name === widget).value = value;
            }}
        }}"""
        self.page.evaluate(write, values)

    def value(self, node: str, widget: str):
        read = f"([name, widget]) => {{ {NODE} return node.widgets.find(found => found.name === widget).value; }}"
        return self.page.evaluate(read, [node, widget])

    def problems(self, expected: bool) -> dict[str, str]:
        """What the errors panel says about the open workflow: {kind of problem: text}. expected: wait for one."""
        overlay = self.page.get_by_test_id("error-overlay")
        if expected:
            overlay.wait_for()
        self.page.wait_for_timeout(1000)  # it looks for models after the graph is drawn
        if not overlay.is_visible():
            return {}
        self.page.get_by_test_id("error-overlay-see-errors").click()
        groups = self.page.get_by_test_id("properties-panel").locator("[data-testid^=error-group-missing]")
        groups.first.wait_for()
        read = "groups => groups.map(group => [group.dataset.testid.replace('error-group-', ''), group.innerText])"
        return dict(groups.evaluate_all(read))

    def close_panel(self) -> None:
        panel = self.page.get_by_test_id("properties-panel")
        if panel.is_visible():
            panel.locator("button[aria-pressed=true]").first.click()
            panel.wait_for(state="hidden")

    def run(self) -> None:
        self.page.get_by_test_id("queue-button").click()

    def help(self, node: str) -> str:
        """The text of the help that the info button over a selected node opens."""
        self.click(node)
        self.page.get_by_test_id("info-button").click()
        text = self.page.locator(".node-help-content .markdown-content h1").locator("..")
        text.wait_for()
        return text.inner_text()

    def screenshot(self, name: str) -> None:
        self.page.screenshot(path=self.screenshots / f"{name}.jpg", type="jpeg", quality=70)


@contextmanager
def chromium() -> Iterator[BrowserContext]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        # One cache for all pages. Without API nodes ComfyUI forbids what a page asks of other hosts: people have them,
        # and `open_frontend` keeps the page off the network.
        yield browser.new_context(viewport=VIEWPORT, reduced_motion="reduce", bypass_csp=True)
        browser.close()


@contextmanager
def open_frontend(browser: BrowserContext, url: str, screenshots: Path, **settings: object) -> Iterator[Frontend]:
    """The page of the server at `url`, ready for clicks. settings: more of ComfyUI's; they stay on the server."""
    requests.post(f"{url}/settings", json={**SETTINGS, **settings}, timeout=10).raise_for_status()
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT)
    page.route(lambda address: not address.startswith((url, "blob:", "data:")), lambda route: route.abort())
    page.route("**/templates/*.webp", lambda route: route.abort())  # the pictures of ComfyUI's own templates
    frontend = Frontend(page, url, screenshots)
    page.goto(url, timeout=START_TIMEOUT)
    page.wait_for_function(READY, timeout=START_TIMEOUT)
    yield frontend
    page.close()
