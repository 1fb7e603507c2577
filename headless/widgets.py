"""Reads the values of a node's widgets in a saved workflow, which lists them without names."""

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

# Types that are never in a file and always in a prompt -> their value.
UNSAVED = {"IMAGECOMPARE": ["", ""]}
# Drawn in the browser only: they have a position in the saved values, which may be empty, and inputs of the prompt that
# a browser makes as it sends it.
BROWSER_ONLY = ("LOAD_3D", "LOAD_3D_ADVANCED", "PREVIEW_3D", "WEBCAM", "AUDIO_RECORD")
# Types that are followed by so many further saved values: x, y, width and height.
PARTS = {"BOUNDING_BOX": 4}
# Values of buttons, which may be saved before or after the widgets that they belong to.
BUTTONS = ("upload3dmodel", "uploadExtraResources", "clear")
# Inputs to which the frontend always adds a second widget.
SEEDS = ("seed", "noise_seed")
AFTER_GENERATE = ("fixed", "increment", "decrement", "randomize", "increment-wrap")
EMPTY = (None, "", [], {})  # a button, a preview, a text that was never filled in
# Keys to skip among values saved by name: previews, and labels of buttons.
SHOWN = re.compile(r"(video|audio|vhslatent)preview|choose \w+ to upload")


@dataclass
class Widgets:
    """`found`: input name -> value. `positions`: input name -> index in the saved list, or key, if it is there. `left`:
    saved values that belong to no input."""

    found: dict[str, Any] = field(default_factory=dict)
    positions: dict[str, Any] = field(default_factory=dict)
    left: list[Any] = field(default_factory=list)


def read_widgets(node: Mapping[str, Any], info: Mapping[str, Any]) -> Widgets:
    """The widgets of a saved node. info: its entry in /object_info.

    Saved values are in widget order. The frontend's own widgets between them (control after generate, upload button)
    are skipped. A widget that is newer than the file gets its default.
    """
    saved = node["widgets_values"]
    if isinstance(saved, Mapping):
        return _read_named(saved, info)
    values = _without_forced(saved, info)
    reader = Reader(values, _before_switches(info))
    connected = {slot["name"] for slot in node["inputs"] if "widget" in slot}
    for index, group in enumerate(groups(info)):
        uploads = False
        for name, spec in group:
            if widget_type(spec) in UNSAVED:
                reader.widgets.found[name] = UNSAVED[widget_type(spec)]
            elif widget_type(spec) in BROWSER_ONLY:
                reader.take_drawn(name)
            elif is_widget(spec) or (name in connected and not options(spec).get("forceInput")):
                reader.take(name, spec)
                uploads = uploads or (index == 0 and has_upload(spec))  # there is no button for optional ones
        if uploads:
            reader.skip()
    widgets = reader.widgets
    if len(values) < len(saved):
        widgets.positions.clear()
    found, left = undeclared.take(node, reader.rest())
    widgets.found |= found
    widgets.left = [value for value in left if value not in EMPTY]
    return widgets


def _read_named(saved: Mapping[str, Any], info: Mapping[str, Any]) -> Widgets:
    """As `read_widgets`, for packs that save values by name, with those of previews among them."""
    specs = [entry for group in groups(info) for entry in group]
    widgets = Widgets()
    for name, spec in specs:
        _take_named(name, spec, saved, widgets)
        for inner, inner_spec in brought(spec, widgets.found.get(name)):
            _take_named(inner, inner_spec, saved, widgets)
    inside = {name: saved[name] for name, _ in all_specs(info) if name in saved and name not in widgets.found}
    widgets.found |= inside
    widgets.positions |= {name: name for name in inside}
    left = {name: value for name, value in saved.items() if name not in widgets.found and value not in EMPTY}
    left = {name: value for name, value in left.items() if not SHOWN.fullmatch(name)}
    widgets.left = [left] if left else []
    return widgets


def _take_named(name: str, spec: Spec, saved: Mapping[str, Any], widgets: Widgets) -> None:
    if name in saved:
        widgets.found[name] = as_opened(saved[name], spec)
        widgets.positions[name] = name
    elif is_widget(spec) and (value := default(spec)) is not None:
        widgets.found[name] = value


def as_opened(value: Any, spec: Spec) -> Any:
    """A saved value as the frontend shows it: a combo without a value shows its first choice."""
    return choices(spec)[0] if value is None and is_combo(spec) and choices(spec) else value


def _before_switches(info: Mapping[str, Any]) -> set[str]:
    """The widgets that are followed by one of the node's own switches."""
    specs = [(name, spec) for group in groups(info) for name, spec in group if is_widget(spec)]
    return {name for (name, _), (_, spec) in pairwise(specs) if widget_type(spec) == BOOLEAN}


def _without_forced(saved: list[Any], info: Mapping[str, Any]) -> list[Any]:
    """Drop values of inputs that have lost their widget since; detected by the number of values, as the frontend
    does."""
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
    """A value for a prompt; lists are wrapped, since the server would take a list of two for a link."""
    return {"__value__": value} if isinstance(value, list) else value


class Reader:
    """Assigns the saved values to widgets, in order. before_switches: widgets that are followed by a switch."""

    def __init__(self, saved: list[Any], before_switches: set[str]):
        self._saved = saved
        self._before_switches = before_switches
        self._next = 0
        self.widgets = Widgets()

    def take(self, name: str, spec: Spec) -> None:
        """Read the value of a widget, and those of the widgets that it adds."""
        if self._next < len(self._saved):
            self.widgets.found[name] = as_opened(self._saved[self._next], spec)
            self.widgets.positions[name] = self._next
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
        """Read a browser-only widget, which comes after its buttons."""
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
        """Read the inputs of the chosen option of a dynamic combo, named "combo.input"."""
        for option in options(spec)["options"]:
            if option["key"] == self.widgets.found.get(name):
                for group in groups({"input": option["inputs"]}):
                    for inner, inner_spec in group:
                        if is_widget(inner_spec):
                            self.take(f"{name}.{inner}", inner_spec)

    def _skip_control(self, name: str, spec: Spec) -> None:
        """Skip the value of "control after generate". Files written without a browser may lack it; that of a combo is
        followed by a filter text; the oldest files, such as ComfyUI's first default graph, have true or false."""
        value = self._saved[self._next] if self._next < len(self._saved) else None
        if value in AFTER_GENERATE or (isinstance(value, bool) and name not in self._before_switches):
            self._next += 2 if is_combo(spec) else 1
