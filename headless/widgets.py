"""The values a node's widgets hold in a saved workflow, which lists them without their names."""

from collections.abc import Iterator, Mapping
from typing import Any

COMBO = "COMBO"
WIDGET_TYPES = (
    *("INT", "FLOAT", "STRING", "BOOLEAN", COMBO, "COLOR", "COLORS", "BOUNDING_BOX", "BOUNDING_BOXES", "CURVE"),
    *("RANGE", "PAINTER", "MARKDOWN", "TEXTAREA", "CHART", "GALLERIA"),
)
# Never in a file, always in a prompt: type -> value.
UNSAVED = {"IMAGECOMPARE": ["", ""]}
# The frontend saves so many more values behind one of these: x, y, width and height by themselves.
PARTS = {"BOUNDING_BOX": 4}
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
UPLOADS = ("image_upload", "video_upload", "audio_upload", "animated_image_upload")
# Grows one widget for each of its choices, which no specification has.
CUSTOM_COMBO = "CustomCombo"
# The frontend adds a second widget to these, whatever their specification says.
SEEDS = ("seed", "noise_seed")
AFTER_GENERATE = ("fixed", "increment", "decrement", "randomize", "increment-wrap")

Spec = list[Any]


def widget_values(node: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    """Input name -> value, for one node of a saved workflow and its entry in /object_info.

    Saved values come in the order of the widgets; the frontend's own (what to do with a seed afterwards, an upload
    button) stand between them and are passed over. A widget newer than the file gets its default.
    """
    saved = node.get("widgets_values") or []
    connected = {slot["name"] for slot in node.get("inputs", []) if "widget" in slot}
    if isinstance(saved, Mapping):
        specs = {name: spec for group in groups(info) for name, spec in group}
        return {name: value for name, value in saved.items() if name in specs}
    reader = Reader(saved)
    found: dict[str, Any] = {}
    for group in groups(info):
        uploads = False
        for name, spec in group:
            if type_of(spec) in UNSAVED:
                found[name] = UNSAVED[type_of(spec)]
            elif is_widget(spec) or name in connected:
                reader.take(name, spec, found)
                uploads = uploads or any(options(spec).get(flag) for flag in UPLOADS)
        if uploads:
            reader.skip()
    if node["type"] == CUSTOM_COMBO:
        found |= custom_choices(saved)
    return found


def custom_choices(saved: list[Any]) -> dict[str, Any]:
    """What a CustomCombo sends beside its choice. saved: the choice, its index, then every option."""
    options_ = saved[2:]
    index = options_.index(saved[0]) if saved[0] in options_ else -1
    return {"index": index, **{f"option{number}": option for number, option in enumerate(options_, 1)}}


def groups(info: Mapping[str, Any]) -> Iterator[list[tuple[str, Spec]]]:
    """The required inputs, then the optional ones, each in the order the node declares."""
    for group in ("required", "optional"):
        specs = info["input"].get(group, {})
        order = info.get("input_order", {}).get(group, list(specs))
        yield [(name, specs[name]) for name in order]


def all_specs(info: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Spec]]:
    """Every input of a node, those inside dynamic combos as "combo.input"."""
    for group in groups(info):
        for name, spec in group:
            yield prefix + name, spec
            if spec[0] == DYNAMIC_COMBO:
                for option in options(spec)["options"]:
                    yield from all_specs({"input": option["inputs"]}, f"{prefix}{name}.")


def options(spec: Spec) -> Mapping[str, Any]:
    return spec[1] if len(spec) > 1 else {}


def type_of(spec: Spec) -> str:
    """An old combo has the list of its choices where others have the name of their type."""
    return COMBO if isinstance(spec[0], list) else spec[0]


def is_combo(spec: Spec) -> bool:
    return type_of(spec) == COMBO


def is_widget(spec: Spec) -> bool:
    return type_of(spec) in (*WIDGET_TYPES, DYNAMIC_COMBO) and not options(spec).get("forceInput")


def is_widget_input(info: Mapping[str, Any], name: str) -> bool:
    """Whether the frontend draws a widget for the input of that name, of the node with this entry in /object_info."""
    spec = dict(all_specs(info)).get(name)
    return spec is not None and is_widget(spec)


def value_for_prompt(value: Any) -> Any:
    """A list is wrapped: the server would take one of two for a link."""
    return {"__value__": value} if isinstance(value, list) else value


class Reader:
    """Hands out the saved values one after the other."""

    def __init__(self, saved: list[Any]):
        self._saved = saved
        self._next = 0

    def take(self, name: str, spec: Spec, found: dict[str, Any]) -> None:
        """Puts the value of this widget, and of those it brings with it, into `found`."""
        if self._next < len(self._saved):
            found[name] = self._saved[self._next]
        elif (value := default(spec)) is not None:
            found[name] = value
        self._next += 1
        if spec[0] == DYNAMIC_COMBO:
            self._take_chosen(name, spec, found)
        elif type_of(spec) in PARTS:
            self._next += PARTS[type_of(spec)]
        elif options(spec).get("control_after_generate") or (spec[0] == "INT" and name in SEEDS):
            self._skip_control(spec)

    def skip(self) -> None:
        self._next += 1

    def _take_chosen(self, name: str, spec: Spec, found: dict[str, Any]) -> None:
        """The inputs of the chosen option of a dynamic combo, named "combo.input"."""
        for option in options(spec)["options"]:
            if option["key"] == found.get(name):
                for group in groups({"input": option["inputs"]}):
                    for inner, inner_spec in group:
                        if is_widget(inner_spec):
                            self.take(f"{name}.{inner}", inner_spec, found)

    def _skip_control(self, spec: Spec) -> None:
        """A file written without a browser may lack the control; a combo's has a filter text behind it."""
        if self._next < len(self._saved) and self._saved[self._next] in AFTER_GENERATE:
            self._next += 2 if is_combo(spec) else 1


def default(spec: Spec) -> Any:
    """The value the frontend gives a new widget; None where it has none."""
    if "default" in options(spec):
        return options(spec)["default"]
    if spec[0] == DYNAMIC_COMBO:
        return options(spec)["options"][0]["key"]
    choices = spec[0] if isinstance(spec[0], list) else options(spec).get("options")
    return choices[0] if choices else None
