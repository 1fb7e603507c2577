"""Workflows as the frontend saves them, in few words, and the /object_info of the nodes in them."""

import json
from pathlib import Path

INFO = json.loads((Path(__file__).parent / "headless" / "object_info.json").read_text())


def node(number, kind, values=(), inputs=(), outputs=("MODEL",), **more):
    """inputs: (name, type, link)."""
    return {
        "id": number,
        "type": kind,
        "mode": 0,
        "widgets_values": values if isinstance(values, dict) else list(values),
        "inputs": [{"name": name, "type": type_, "link": link} for name, type_, link in inputs],
        "outputs": [{"name": type_, "type": type_} for type_ in outputs],
        **more,
    }


def workflow(*nodes, links=(), subgraphs=()):
    """links: (id, origin node, origin slot, target node)."""
    return {
        "nodes": list(nodes),
        "links": [[*link, 0, "MODEL"] for link in links],
        "version": 0.4,
        "definitions": {"subgraphs": list(subgraphs)},
    }


def subgraph(name, *nodes, links=(), inputs=(), outputs=()):
    """links: (id, origin node, origin slot, target node); -10 is where inputs come from, -20 where outputs go.
    inputs, outputs: (name, type, link ids)."""
    keys = ("id", "origin_id", "origin_slot", "target_id")
    return {
        "id": name,
        "name": name,
        "nodes": list(nodes),
        "links": [{**dict(zip(keys, link, strict=True)), "target_slot": 0, "type": "MODEL"} for link in links],
        "inputs": [{"name": n, "type": t, "linkIds": list(ids)} for n, t, ids in inputs],
        "outputs": [{"name": n, "type": t, "linkIds": list(ids)} for n, t, ids in outputs],
    }


def download(name):
    return {"name": name, "url": f"https://example.org/{name}", "directory": "diffusion_models"}


def loader(number, kind, values, **more):
    """A loader of ComfyUI's as a template has it. values: of its widgets, the file first."""
    properties = {"Node name for S&R": kind, "cnr_id": "comfy-core", "ver": "0.3.64", "models": [download(values[0])]}
    return node(number, kind, values, properties=properties, pos=[1, 2], size=[3, 4], title="My loader", **more)
