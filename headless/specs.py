"""What /object_info says of a node's inputs, [type, options] for each, and which of them the frontend draws as
widgets."""

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
    """The required inputs, then the optional ones, each in the order the node declares."""
    for group in ("required", "optional"):
        specs = info["input"].get(group) or {}
        order = [name for name in (info.get("input_order") or {}).get(group, ()) if name in specs]
        yield [(name, specs[name]) for name in dict.fromkeys([*order, *specs])]


def all_specs(info: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Spec]]:
    """Every input of a node, those inside dynamic combos as "combo.input"."""
    for group in groups(info):
        for name, spec in group:
            yield prefix + name, spec
            if widget_type(spec) == DYNAMIC_COMBO:
                for option in options(spec)["options"]:
                    yield from all_specs({"input": option["inputs"]}, f"{prefix}{name}.")


def options(spec: Spec) -> Mapping[str, Any]:
    return spec[1] if len(spec) > 1 and isinstance(spec[1], Mapping) else {}


def type_of(spec: Spec) -> str:
    """An old combo has the list of its choices where others have the name of their type."""
    return COMBO if isinstance(spec[0], list) else spec[0]


def widget_type(spec: Spec) -> str:
    """The type of the widget that the frontend draws, if it draws one: an input of several types names it."""
    return options(spec).get("widgetType") or type_of(spec)


def is_combo(spec: Spec) -> bool:
    return widget_type(spec) == COMBO


def is_widget(spec: Spec) -> bool:
    return widget_type(spec) in WIDGET_TYPES and not options(spec).get("forceInput")


def is_widget_input(info: Mapping[str, Any], name: str) -> bool:
    """Whether the frontend draws a widget for the input of that name, of the node with this entry in /object_info."""
    spec = dict(all_specs(info)).get(name)
    return spec is not None and is_widget(spec)


def has_upload(spec: Spec) -> bool:
    """Whether the input takes a file that the frontend would upload: there is a button then."""
    return any(options(spec).get(flag) for flag in UPLOADS)


def choices(spec: Spec) -> list[Any]:
    """Of a combo, as far as the server lists them."""
    return spec[0] if isinstance(spec[0], list) else options(spec).get("options") or []


def brought(spec: Spec, choice: Any) -> Iterator[tuple[str, Spec]]:
    """The widgets that the frontend adds for a choice, as Video Combine of VideoHelperSuite declares them:
    {"formats": {choice: [[name, type, options], ...]}}."""
    formats = options(spec).get("formats")
    found = formats.get(choice) if isinstance(formats, Mapping) and isinstance(choice, str) else None
    for entry in found if isinstance(found, list) else ():
        sound = isinstance(entry, list) and len(entry) > 1 and isinstance(entry[0], str)
        if sound and isinstance(entry[1], str | list):
            yield entry[0], entry[1:]


def default(spec: Spec) -> Any:
    """The value the frontend gives a new widget; None where it has none."""
    if "default" in options(spec):
        return options(spec)["default"]
    if widget_type(spec) == DYNAMIC_COMBO:
        return options(spec)["options"][0]["key"]
    return choices(spec)[0] if choices(spec) else None
