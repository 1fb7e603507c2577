"""Specifications of inputs in /object_info, [type, options], and which of them are widgets in the frontend."""

from collections.abc import Iterator, Mapping
from typing import Any

COMBO = "COMBO"
BOOLEAN = "BOOLEAN"
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
WIDGET_TYPES = (
    *("INT", "FLOAT", "STRING", BOOLEAN, COMBO, "COLOR", "COLORS", "BOUNDING_BOX", "BOUNDING_BOXES", "CURVE"),
    *("RANGE", "PAINTER", "MARKDOWN", "TEXTAREA", "CHART", "GALLERIA", DYNAMIC_COMBO),
)
UPLOADS = ("image_upload", "video_upload", "audio_upload", "animated_image_upload")

Spec = list[Any]


def groups(info: Mapping[str, Any]) -> Iterator[list[tuple[str, Spec]]]:
    """The required and the optional inputs, each in declaration order."""
    for group in ("required", "optional"):
        specs = info["input"].get(group) or {}
        order = [name for name in (info.get("input_order") or {}).get(group, ()) if name in specs]
        yield [(name, specs[name]) for name in dict.fromkeys([*order, *specs])]


def all_specs(info: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Spec]]:
    """All inputs of a node, those inside dynamic combos as "combo.input"."""
    for group in groups(info):
        for name, spec in group:
            yield prefix + name, spec
            if widget_type(spec) == DYNAMIC_COMBO:
                for option in options(spec)["options"]:
                    yield from all_specs({"input": option["inputs"]}, f"{prefix}{name}.")


def options(spec: Spec) -> Mapping[str, Any]:
    return spec[1] if len(spec) > 1 and isinstance(spec[1], Mapping) else {}


def type_of(spec: Spec) -> str:
    """The name of the type; an old combo has the list of its choices in that position."""
    return COMBO if isinstance(spec[0], list) else spec[0]


def widget_type(spec: Spec) -> str:
    """The type of the input's widget, if it has one; an input of several types names it in its options."""
    return options(spec).get("widgetType") or type_of(spec)


def is_combo(spec: Spec) -> bool:
    return widget_type(spec) == COMBO


def is_widget(spec: Spec) -> bool:
    return widget_type(spec) in WIDGET_TYPES and not options(spec).get("forceInput")


def is_widget_input(info: Mapping[str, Any], name: str) -> bool:
    """Whether the input of that name is a widget. info: the node's entry in /object_info."""
    spec = dict(all_specs(info)).get(name)
    return spec is not None and is_widget(spec)


def has_upload(spec: Spec) -> bool:
    """Whether the input is a file that the frontend can upload, by a button."""
    return any(options(spec).get(flag) for flag in UPLOADS)


def choices(spec: Spec) -> list[Any]:
    """The choices of a combo that the server lists."""
    return spec[0] if isinstance(spec[0], list) else options(spec).get("options") or []


def brought(spec: Spec, choice: Any) -> Iterator[tuple[str, Spec]]:
    """The widgets that a choice adds, as VideoHelperSuite's Video Combine declares them: {"formats": {choice: [[name,
    type, options], ...]}}."""
    formats = options(spec).get("formats")
    found = formats.get(choice) if isinstance(formats, Mapping) and isinstance(choice, str) else None
    for entry in found if isinstance(found, list) else ():
        sound = isinstance(entry, list) and len(entry) > 1 and isinstance(entry[0], str)
        if sound and isinstance(entry[1], str | list):
            yield entry[0], entry[1:]


def default(spec: Spec) -> Any:
    """The frontend's value of a new widget; None if it has none."""
    if "default" in options(spec):
        return options(spec)["default"]
    if widget_type(spec) == DYNAMIC_COMBO:
        return options(spec)["options"][0]["key"]
    return choices(spec)[0] if choices(spec) else None
