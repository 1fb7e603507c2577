"""cg-use-everywhere: nodes that feed every matching unlinked input, by rules on titles, groups and colours. The pack
computes these links in the browser and saves them in the graph's `extra.ue_links`.
"""

from collections.abc import Mapping
from typing import Any

from .roles import EVERYWHERE, Roles
from .saved import AGAIN, ALWAYS, is_place, type_name
from .slots import INPUTS, OUTPUTS, fits
from .specs import groups, is_widget, type_of
from .workflow_error import WorkflowError, called

LINKS = "ue_links"
Json = dict[str, Any]


def link_everywhere(graph: Json, roles: Roles, object_info: Mapping[str, Any]) -> None:
    """Add the links saved in the file to free inputs of a checked graph. Raises WorkflowError if a node feeds inputs
    for which the file has no links."""
    links = graph["extra"].get(LINKS)
    if links is None:
        sending = next((node for node in graph["nodes"] if _sends(node, roles)), None)
        if sending is not None:
            raise WorkflowError(
                f"{called(sending)} gives what it has to inputs that this file does not name: open it in a ComfyUI "
                "that has cg-use-everywhere and save it again, or export it for the API there."
            )
        return
    if not isinstance(links, list):
        raise WorkflowError(f"extra.{LINKS} is no list. {AGAIN}")
    nodes = {node["id"]: node for node in graph["nodes"]}
    for index, link in enumerate(links):
        _apply(link, f"{LINKS} {index}", graph, nodes, object_info)


def _sends(node: Json, roles: Roles) -> bool:
    own = node["type"] == "Seed Everywhere" or bool(node["properties"].get("ue_convert"))  # what it gives itself
    gets = roles.of(node) == EVERYWHERE and any(slot["link"] is not None for slot in node["inputs"])
    return node["mode"] == ALWAYS and (own or gets)


def _apply(link: Any, name: str, graph: Json, nodes: dict[str, Json], object_info: Mapping[str, Any]) -> None:
    sound = isinstance(link, Mapping) and is_place(link.get("downstream_slot")) and is_place(link.get("upstream_slot"))
    if not sound:
        raise WorkflowError(f"extra.{name} is no link from one slot to another. {AGAIN}")
    target = str(link.get("downstream"))
    origin = str(link.get("upstream")), link["upstream_slot"]
    if target == OUTPUTS:
        slot = _output(graph, link, name)
    elif target in nodes:
        slot = _input(nodes[target], link, name, object_info)
    else:  # a node that was deleted since
        return
    if is_free(slot, graph, nodes):
        graph["links"][name] = origin
        slot |= {"link": name, "linkIds": [name]}


def is_free(slot: Json, graph: Json, nodes: Mapping[str, Json]) -> bool:
    """Whether an input has no link, or one from a muted or bypassed node, which the pack ignores too."""
    link = slot["linkIds"][0] if slot.get("linkIds") else slot["link"]
    origin = graph["links"].get(link, ("", 0))[0]
    return origin != INPUTS and (origin not in nodes or nodes[origin]["mode"] != ALWAYS)


def _output(graph: Json, link: Mapping[str, Any], name: str) -> Json:
    if not link["downstream_slot"] < len(graph["outputs"]):
        raise WorkflowError(f"extra.{name} ends at an output that the subgraph {graph['name']} does not have. {AGAIN}")
    return graph["outputs"][link["downstream_slot"]]


def _input(node: Json, link: Mapping[str, Any], name: str, object_info: Mapping[str, Any]) -> Json:
    """The input of a link. Its index counts the inputs that the browser shows; a file omits widgets without a link."""
    index, kind = link["downstream_slot"], type_name(link.get("type"))
    slots = node["inputs"]
    if index < len(slots) and _fits(slots[index]["type"], kind):
        return slots[index]
    shown = _shown_inputs(object_info[node["type"]]) if node["type"] in object_info else []
    if not (index < len(shown) and _fits(shown[index][1], kind)):
        raise WorkflowError(
            f"extra.{name} ends at input {index} of {called(node)}, which is none of type {kind}. {AGAIN}"
        )
    wanted, its_type = shown[index]
    found = next((slot for slot in slots if slot["name"] == wanted), None)
    if found is None:
        found = {"name": wanted, "type": its_type, "link": None}
        slots.append(found)
    return found


def _shown_inputs(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, type) of the inputs in the frontend's order: those that are widgets come last."""
    specs = [entry for group in groups(info) for entry in group]
    return [(name, type_of(spec)) for name, spec in sorted(specs, key=lambda entry: is_widget(entry[1]))]


def _fits(one: Any, other: Any) -> bool:
    """Whether the types can be linked; the pack also links a text to a combo."""
    return fits(one, other) or {one, other} == {"STRING", "COMBO"}
