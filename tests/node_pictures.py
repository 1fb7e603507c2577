"""Writes the pictures of the help pages, web/docs/<id>/node.jpg: each node after a run of a template that has it.

    python dev.py exec python tests/node_pictures.py [ID ...]

Small stand-ins lie under the names of the template's models, and its videos are as small as the demo's.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import frontend
from template_models import FILES

from x2v_quant.core.on_path import PACK, use_comfyui
from x2v_quant.demo import assets
from x2v_quant.demo.graph import WORKFLOWS, workflow
from x2v_quant.demo.prompts import DEFAULT
from x2v_quant.demo.scenes import FRAMES, SIDE
from x2v_quant.demo.video import START_SEED, start_image
from x2v_quant.headless.server import REQUIRED_NODES, serve

MARGIN = 60  # pixels around a node: where its links go
WIDTH, HEIGHT = 640, 560  # at most
RUN_TIMEOUT = 240_000  # milliseconds
NOT_RUN = ("3 ", "4 Quantize your own model")  # beginnings of templates whose text encoders core has in full size only
PICTURE = "example.png"  # which ComfyUI comes with, and templates load
SIZES = {"width": SIDE, "height": SIDE, "length": FRAMES}
SHRINK = """sizes => {
    for (const node of app.graph.nodes)
        for (const widget of node.widgets ?? [])
            if (widget.name in sizes) widget.value = sizes[widget.name];
}"""
IDLE = "async url => (await (await fetch(url)).json()).exec_info.queue_remaining === 0"
# the node in the middle of the page, no larger than a picture may be: its place in the page's pixels, with its title
FRAME = """([name, width, height]) => {
    const node = app.graph.nodes.find(node => node.type === name), title = 30;
    app.canvas.deselectAll();
    const view = app.canvas.ds, page = app.canvas.canvas.getBoundingClientRect();
    view.scale = Math.min(1, width / node.size[0], height / (node.size[1] + title));
    view.offset[0] = page.width / 2 / view.scale - node.pos[0] - node.size[0] / 2;
    view.offset[1] = page.height / 2 / view.scale - node.pos[1] - node.size[1] / 2;
    app.canvas.setDirty(true, true);
    return {
        x: page.x + (node.pos[0] + view.offset[0]) * view.scale,
        y: page.y + (node.pos[1] - title + view.offset[1]) * view.scale,
        width: node.size[0] * view.scale,
        height: (node.size[1] + title) * view.scale,
    };
}"""


def by_template(nodes: Sequence[str]) -> dict[str, list[str]]:
    """template -> the nodes of which it is the first that has them."""
    found: dict[str, list[str]] = {}
    left = set(nodes)
    for path in sorted(WORKFLOWS.glob("*.json")):
        here = left & {node["type"] for node in workflow(path.stem)["nodes"]}
        if here:
            found[path.stem] = sorted(here)
        left -= here
    return found


def place(models: Path, template: str) -> None:
    """A small file under the name of each model of a template."""
    for node in workflow(template)["nodes"]:
        for model in node.get("properties", {}).get("models", ()):
            path = models / model["directory"] / model["name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                FILES[model["name"]](models, path)


def run(page: frontend.Frontend, template: str, sampled: bool) -> None:
    """Opens the template, and runs it if `sampled`."""
    page.page.reload()  # the lists of files are those of the start
    page.page.wait_for_function(frontend.READY)
    page.open_template(template)
    page.page.add_style_tag(content="video { visibility: hidden }")  # they lie over what is below them
    if not sampled:
        return
    page.page.evaluate(SHRINK, SIZES)
    page.run()
    page.page.wait_for_timeout(2000)
    page.page.wait_for_function(IDLE, arg=f"{page.url}/prompt", timeout=RUN_TIMEOUT)
    page.page.wait_for_timeout(1500)


def take(page: frontend.Frontend, node: str) -> Path:
    box = page.page.evaluate(FRAME, [node, WIDTH - 2 * MARGIN, HEIGHT])
    page.page.wait_for_timeout(700)
    across = max(MARGIN, (WIDTH - box["width"]) / 2)
    clip = {
        "x": box["x"] - across,
        "y": box["y"] - MARGIN,
        "width": box["width"] + 2 * across,
        "height": box["height"] + 2 * MARGIN,
    }
    path = PACK / "web" / "docs" / node / "node.jpg"
    page.page.screenshot(path=path, type="jpeg", quality=60, clip=clip)
    return path


def prepare(folder: Path) -> None:
    """The base folder of a server: the demo's models, and the picture that templates load."""
    use_comfyui(cpu=True)  # what writes stand-ins asks it for names
    assets.write(folder / "models")
    (folder / "input").mkdir()
    start_image(DEFAULT, START_SEED).save(folder / "input" / PICTURE)


@contextmanager
def server_and_page(folder: Path) -> Iterator[frontend.Frontend]:
    with (
        serve(folder, cpu=True) as server,
        frontend.chromium() as browser,
        frontend.open_frontend(browser, server.url, folder) as page,
    ):
        yield page


def main(wanted: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        with server_and_page(Path(folder)) as page:
            for template, nodes in by_template(wanted or REQUIRED_NODES).items():
                place(Path(folder) / "models", template)
                run(page, template, not template.startswith(NOT_RUN))
                for node in nodes:
                    path = take(page, node)
                    print(f"{path.relative_to(PACK)}: {path.stat().st_size / 1000:.0f} kB, from {template}")


if __name__ == "__main__":
    main(sys.argv[1:])
