"""The values a node's widgets hold in a saved workflow, which lists them without their names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from . import undeclared
from .specs import (
    BOOLEAN,
    DYNAMIC_COMBO,
    Spec,
    all_specs,
    brought,
    choices,
    default,
    groups,
    has_upload,
    is_combo,
    is_widget,
    options,
    widget_type,
)

# Never in a file, always in a prompt: type -> value.
UNSAVED = {"IMAGECOMPARE": ["", ""]}
# Drawn in the browser only: they have a place among the saved values, which may be empty, and inputs of the prompt that
# a browser makes as it sends it.
BROWSER_ONLY = ("LOAD_3D", "LOAD_3D_ADVANCED", "PREVIEW_3D", "WEBCAM", "AUDIO_RECORD")
# The frontend saves so many more values behind one of these: x, y, width and height by themselves.
PARTS = {"BOUNDING_BOX": 4}
# What its buttons hold, wherever they stand; some have a place of their own before or behind what they serve.
BUTTONS = ("upload3dmodel", "uploadExtraResources", "clear")
# The frontend adds a second widget to these, whatever their specification says.
SEEDS = ("seed", "noise_seed")
AFTER_GENERATE = ("fixed", "increment", "decrement", "randomize", "increment-wrap")
EMPTY = (None, "", [], {})  # a button, a preview, a text that was never filled in
# Among values that are saved by name: previews, and what stands on a button.
SHOWN = re.compile(r"(video|audio|vhslatent)preview|choose \w+ to upload")


@dataclass
class Widgets:
    """`found`: input name -> value. `places`: input name -> its place in the saved list, or its key, where it has one.
    `left`: saved values that no input takes."""

    found: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Any] = field(default_factory=dict)
    left: list[Any] = field(default_factory=list)


def read_widgets(node: Mapping[str, Any], info: Mapping[str, Any]) -> Widgets:
    """The widgets of one node of a saved workflow, by its entry in /object_info.

    Saved values come in the order of the widgets; the frontend's own (what to do with a seed afterwards, an upload
    button) stand between them and are passed over. A widget newer than the file gets its default.
    """
    saved = node["widgets_values"]
    if isinstance(saved, Mapping):
        return _read_named(saved, info)
    values = _without_forced(saved, info)
    reader = Reader(values, _before_switches(info))
    connected = {slot["name"] for slot in node["inputs"] if "widget" in slot}
    for place, group in enumerate(groups(info)):
        uploads = False
        for name, spec in group:
            if widget_type(spec) in UNSAVED:
                reader.widgets.found[name] = UNSAVED[widget_type(spec)]
            elif widget_type(spec) in BROWSER_ONLY:
                reader.take_drawn(name)
            elif is_widget(spec) or (name in connected and not options(spec).get("forceInput")):
                reader.take(name, spec)
                uploads = uploads or (place == 0 and has_upload(spec))  # there is no button for optional ones
        if uploads:
            reader.skip()
    widgets = reader.widgets
    if len(values) < len(saved):
        widgets.places.clear()
    found, left = undeclared.take(node, reader.rest())
    widgets.found |= found
    widgets.left = [value for value in left if value not in EMPTY]
    return widgets


def _read_named(saved: Mapping[str, Any], info: Mapping[str, Any]) -> Widgets:
    """Some packs save their values by name, with those of their previews among them. A widget newer than the file gets
    its default here too."""
    specs = [entry for group in groups(info) for entry in group]
    widgets = Widgets()
    for name, spec in specs:
        _take_named(name, spec, saved, widgets)
        for inner, inner_spec in brought(spec, widgets.found.get(name)):
            _take_named(inner, inner_spec, saved, widgets)
    inside = {name: saved[name] for name, _ in all_specs(info) if name in saved and name not in widgets.found}
    widgets.found |= inside
    widgets.places |= {name: name for name in inside}
    left = {name: value for name, value in saved.items() if name not in widgets.found and value not in EMPTY}
    left = {name: value for name, value in left.items() if not SHOWN.fullmatch(name)}
    widgets.left = [left] if left else []
    return widgets


def _take_named(name: str, spec: Spec, saved: Mapping[str, Any], widgets: Widgets) -> None:
    if name in saved:
        widgets.found[name] = as_opened(saved[name], spec)
        widgets.places[name] = name
    elif is_widget(spec) and (value := default(spec)) is not None:
        widgets.found[name] = value


def as_opened(value: Any, spec: Spec) -> Any:
    """A saved value as the frontend shows it: a combo that has none takes its first choice."""
    return choices(spec)[0] if value is None and is_combo(spec) and choices(spec) else value


def _before_switches(info: Mapping[str, Any]) -> set[str]:
    """The widgets that a switch of the node's own stands behind."""
    specs = [(name, spec) for group in groups(info) for name, spec in group if is_widget(spec)]
    return {name for (name, _), (_, spec) in pairwise(specs) if widget_type(spec) == BOOLEAN}


def _without_forced(saved: list[Any], info: Mapping[str, Any]) -> list[Any]:
    """Files from before an input lost its widget have a value for it: seen by their number, as the frontend sees it."""
    forced: list[bool] = []
    for group in groups(info):
        specs = [spec for _, spec in group if is_widget(spec) or options(spec).get("forceInput")]
        for spec in specs:
            forced.append(bool(options(spec).get("forceInput")))
            if options(spec).get("control_after_generate"):
                forced.append(False)
        if any(has_upload(spec) for spec in specs):
            forced.append(False)
    if len(forced) != len(saved):
        return saved
    return [value for value, out in zip(saved, forced, strict=True) if not out]


def value_for_prompt(value: Any) -> Any:
    """A list is wrapped: the server would take one of two for a link."""
    return {"__value__": value} if isinstance(value, list) else value


class Reader:
    """Hands out the saved values one after the other. before_switches: widgets that a switch stands behind."""

    def __init__(self, saved: list[Any], before_switches: set[str]):
        self._saved = saved
        self._before_switches = before_switches
        self._next = 0
        self.widgets = Widgets()

    def take(self, name: str, spec: Spec) -> None:
        """Takes the value of this widget, and of those it brings with it."""
        if self._next < len(self._saved):
            self.widgets.found[name] = as_opened(self._saved[self._next], spec)
            self.widgets.places[name] = self._next
        elif (value := default(spec)) is not None:
            self.widgets.found[name] = value
        self._next += 1
        for inner, inner_spec in brought(spec, self.widgets.found.get(name)):  # a list is from before there were any
            self.widgets.found[inner] = default(inner_spec)
        if widget_type(spec) == DYNAMIC_COMBO:
            self._take_chosen(name, spec)
        elif widget_type(spec) in PARTS:
            self._next += PARTS[widget_type(spec)]
        elif options(spec).get("control_after_generate", widget_type(spec) == "INT" and name in SEEDS):
            self._skip_control(name, spec)

    def take_drawn(self, name: str) -> None:
        """What only a browser draws: buttons stand before it."""
        while self._next < len(self._saved) and self._saved[self._next] in BUTTONS:
            self._next += 1
        if self._next < len(self._saved):
            self.widgets.found[name] = self._saved[self._next]
        self._next += 1

    def skip(self) -> None:
        self._next += 1

    def rest(self) -> list[Any]:
        return [value for value in self._saved[self._next :] if value not in BUTTONS]

    def _take_chosen(self, name: str, spec: Spec) -> None:
        """The inputs of the chosen option of a dynamic combo, named "combo.input"."""
        for option in options(spec)["options"]:
            if option["key"] == self.widgets.found.get(name):
                for group in groups({"input": option["inputs"]}):
                    for inner, inner_spec in group:
                        if is_widget(inner_spec):
                            self.take(f"{name}.{inner}", inner_spec)

    def _skip_control(self, name: str, spec: Spec) -> None:
        """A file written without a browser may lack the control; a combo's has a filter text behind it. The oldest
        files, ComfyUI's first default graph among them, have true or false there."""
        value = self._saved[self._next] if self._next < len(self._saved) else None
        if value in AFTER_GENERATE or (isinstance(value, bool) and name not in self._before_switches):
            self._next += 2 if is_combo(spec) else 1
