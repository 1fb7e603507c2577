"""Writes the pictures of the templates' cards, workflows/<name>.jpg: what a template is, how much there is to download,
and below that its graph, or the report that it is for after a run.

    python dev.py exec python tests/card_pictures.py [NAME ...]

The cards of the demo's templates show frames of their videos instead, and are not written here.
"""

import io
import re
import sys
import tempfile
from pathlib import Path

import frontend
from node_pictures import FRAME, place, prepare, run, server_and_page
from PIL import Image, ImageDraw, ImageFont

from x2v_quant.demo.graph import TEMPLATES, WORKFLOWS, workflow

WIDTH, HEIGHT, HEAD = 720, 600, 150
BACKGROUND, BRIGHT, PALE = (24, 24, 27), (250, 250, 250), (150, 200, 255)
# template -> the node whose report is what one wants of it
REPORTS = {"5 Compare quality": "X2VCompare"}
BOX = """() => {
    const nodes = app.graph.nodes.filter(node => node.type !== 'MarkdownNote');
    const view = app.canvas.ds, page = app.canvas.canvas.getBoundingClientRect(), title = 60;
    const left = Math.min(...nodes.map(node => node.pos[0])), top = Math.min(...nodes.map(node => node.pos[1])) - title;
    const right = Math.max(...nodes.map(node => node.pos[0] + node.size[0]));
    const bottom = Math.max(...nodes.map(node => node.pos[1] + node.size[1]));
    return {
        x: page.x + (left + view.offset[0]) * view.scale, y: page.y + (top + view.offset[1]) * view.scale,
        width: (right - left) * view.scale, height: (bottom - top) * view.scale,
    };
}"""


def to_download(template: str) -> str:
    """What the template's note says of all its files, such as "about 21.5 GB"."""
    notes = (node["widgets_values"][0] for node in workflow(template)["nodes"] if node["type"] == "MarkdownNote")
    return next(found[1] for note in notes if (found := re.search(r"\*\*Files: (.+ GB) in total", note)))


def body(page: frontend.Frontend, template: str) -> Image.Image:
    if template in REPORTS:
        box = page.page.evaluate(FRAME, [REPORTS[template], WIDTH, 2 * HEIGHT])
        seen = min(box["height"], box["width"] * (HEIGHT - HEAD) / WIDTH)  # its end, below inputs and settings
        box |= {"y": box["y"] + box["height"] - seen, "height": seen}
    else:
        page.fit()
        box = page.page.evaluate(BOX)
    page.page.wait_for_timeout(700)
    return Image.open(io.BytesIO(page.page.screenshot(clip=box))).convert("RGB")


def card(template: str, below: Image.Image) -> Image.Image:
    picture = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    title = template.split(" ", 1)[1]
    size = min(46, int(46 * WIDTH * 0.94 / draw.textlength(title, ImageFont.load_default(46))))
    draw.text((22, 24), title, BRIGHT, ImageFont.load_default(size))
    draw.text((22, 90), f"Files to download: {to_download(template)}", PALE, ImageFont.load_default(34))
    below.thumbnail((WIDTH, HEIGHT - HEAD))
    picture.paste(below, ((WIDTH - below.width) // 2, HEAD + (HEIGHT - HEAD - below.height) // 2))
    return picture


def main(wanted: list[str]) -> None:
    names = wanted or sorted({path.stem for path in WORKFLOWS.glob("*.json")} - set(TEMPLATES.values()))
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        with server_and_page(Path(folder)) as page:
            for template in names:
                place(Path(folder) / "models", template)
                run(page, template, template in REPORTS)
                path = WORKFLOWS / f"{template}.jpg"
                card(template, body(page, template)).save(path, quality=70)
                print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
