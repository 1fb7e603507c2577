"""Where a template's nodes are: each inside a group, none on another."""

import json
from itertools import combinations
from pathlib import Path

import pytest

WORKFLOWS = sorted((Path(__file__).parents[2] / "workflows").glob("*.json"))
TITLE_HEIGHT = 30  # what the frontend draws above a node's position

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


@every_workflow
def test_each_node_is_inside_one_group(path):
    saved = load(path)
    for node in saved["nodes"]:
        (x, y), (width, height) = node["pos"], node["size"]
        inside = [
            group["title"]
            for group in saved["groups"]
            if group["bounding"][0] <= x
            and group["bounding"][1] <= y - TITLE_HEIGHT
            and x + width <= group["bounding"][0] + group["bounding"][2]
            and y + height <= group["bounding"][1] + group["bounding"][3]
        ]
        assert len(inside) == (node["type"] != "MarkdownNote"), (node["id"], node["type"], inside)


@every_workflow
def test_no_group_lies_on_another(path):
    boxes = [(x, y, x + width, y + height) for x, y, width, height in (g["bounding"] for g in load(path)["groups"])]
    assert not [pair for pair in combinations(boxes, 2) if overlap(*pair)]


@every_workflow
def test_no_node_lies_on_another(path):
    boxes = []
    for node in load(path)["nodes"]:
        (x, y), (width, height) = node["pos"], node["size"]
        boxes.append((x, y - TITLE_HEIGHT, x + width, y + height))
    assert not [pair for pair in combinations(boxes, 2) if overlap(*pair)]


def overlap(first, second):
    """Of two boxes (left, top, right, bottom)."""
    left, top, right, bottom = first
    left2, top2, right2, bottom2 = second
    return right > left2 and right2 > left and bottom > top2 and bottom2 > top
