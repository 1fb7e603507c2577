"""The English translation file: what the nodes say of themselves, in the form in which the frontend reads it.

`python dev.py exec python tests/write_locales.py` writes it. Other languages have the same keys, written by hand.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from x2v_quant.core.on_path import PACK

LOCALES = PACK / "locales"
NODES = "nodeDefs.json"
ENGLISH = "en"
# types of inputs that the frontend draws a widget for; others only take a link
WIDGETS = {"BOOLEAN", "COMBO", "FLOAT", "INT", "STRING"}


def english(info: Mapping[str, Any]) -> dict[str, Any]:
    """A node's entry in nodeDefs.json, from its entry in /object_info. Outputs go by their number."""
    inputs = info["input"]
    specs = inputs.get("required", {}) | inputs.get("optional", {})
    labels = {name: label(name, spec, name in inputs.get("optional", {})) for name, spec in specs.items()}
    tooltips = info["output_tooltips"] or [None] * len(info["output"])
    return {
        "display_name": info["display_name"],
        "description": info["description"],
        "inputs": {key(name): _words(labels[name], spec[1].get("tooltip")) for name, spec in specs.items()},
        "outputs": {
            str(number): _words(name, tooltip)
            for number, (name, tooltip) in enumerate(zip(info["output_name"], tooltips, strict=True))
        },
    }


def label(name: str, spec: list, optional: bool) -> str:
    """What an input is called on its node. One without a widget gets its label here and none in the schema: the
    frontend would show a schema's in every language, and save it in workflows."""
    if spec[0] in WIDGETS:
        return spec[1].get("display_name", name)
    return f"{name.replace('_', ' ')} (optional)" if optional else name


def key(name: str) -> str:
    """As the frontend does it: a dot would begin a level of its own."""
    return name.replace(".", "_")


def _words(name: str, tooltip: str | None) -> dict[str, str]:
    return {"name": name, "tooltip": tooltip} if tooltip else {"name": name}


def read(language: str) -> dict[str, Any]:
    return json.loads((LOCALES / language / NODES).read_text(encoding="utf-8"))


def node_infos() -> dict[str, Any]:
    """The pack's part of /object_info, without a server. Needs ComfyUI on the path."""
    from x2v_quant.nodes import X2VExtension

    nodes = asyncio.run(X2VExtension().get_node_list())
    return {node.GET_SCHEMA().node_id: node.GET_NODE_INFO_V1() for node in nodes}


def write() -> None:
    file = LOCALES / ENGLISH / NODES
    file.parent.mkdir(parents=True, exist_ok=True)
    words = {node: english(info) for node, info in node_infos().items()}
    file.write_text(json.dumps(words, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    from x2v_quant.core.on_path import use_comfyui

    use_comfyui()
    write()
