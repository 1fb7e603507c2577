"""Settings from the command line, "NODE.INPUT=VALUE": finds the input in the prompt and parses the value by schema."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .specs import DYNAMIC_COMBO, Spec, all_specs, choices, has_upload, is_combo, options, widget_type
from .workflow import Prompt, WorkflowError, check_input, find_input

# texts for a BOOLEAN, beside the labels of its widget
TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True)
class Setting:
    """A value for an input of a node, as the server takes it. `spec`: the input's entry in /object_info, or None."""

    node: str
    input: str
    value: Any
    spec: Spec | None

    @property
    def uploads(self) -> bool:
        """Whether the input is a file that the frontend would upload."""
        return self.spec is not None and has_upload(self.spec)


def read_setting(text: str, prompt: Prompt, object_info: Mapping[str, Any]) -> Setting:
    """Parse "NODE.INPUT=VALUE". NODE is an id, a title or a class. Numbers, switches and choices are parsed by schema,
    lists and links as JSON. Raises WorkflowError for another syntax, a missing node or input, or a wrong type."""
    key, separator, value = text.partition("=")
    if not separator or "." not in key:
        raise WorkflowError(f"{text!r} is not NODE.INPUT=VALUE (NODE is an id, a title or a class)")
    node, name = find_input(prompt, key)
    check_input(key, prompt[node], name, object_info)
    specs = dict(all_specs(object_info[prompt[node]["class_type"]]))
    spec = specs.get(name)
    return Setting(node, name, typed(key, value, spec), spec)


def typed(key: str, text: str, spec: Spec | None) -> Any:
    """Parse the value for an input; without a spec as JSON, else as text. Raises WorkflowError."""
    if spec is None:
        return _json_or_text(text)
    if is_combo(spec):
        return _choice(text, spec)
    read = READERS.get(widget_type(spec), _link)
    try:
        return read(text, spec)
    except (ValueError, KeyError) as error:
        raise WorkflowError(f"{key}={text}: the input takes {WANTED.get(widget_type(spec), LINK)}") from error


def _choice(text: str, spec: Spec) -> Any:
    """The choice with this text; other texts are left to the server, since some nodes take more than they list."""
    if options(spec).get("multi_select"):
        return _json_or_text(text)
    return next((choice for choice in choices(spec) if str(choice) == text), text)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _boolean(text: str, spec: Spec) -> bool:
    labels = {options(spec).get("label_on"): True, options(spec).get("label_off"): False}
    return labels[text] if text in labels else TRUTHS[text.lower()]


def _number(text: str, spec: Spec) -> float:
    """Parse a number. Raises ValueError, also for infinity and NaN, which JSON does not have."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _link(text: str, spec: Spec) -> list[Any]:
    """Parse [node id, output slot]; for types that need no link, other JSON too."""
    return json.loads(text)


READERS: dict[str, Callable[[str, Spec], Any]] = {
    "INT": lambda text, spec: int(text),
    "FLOAT": _number,
    "STRING": lambda text, spec: text,
    "BOOLEAN": _boolean,
    DYNAMIC_COMBO: lambda text, spec: text,
}
LINK = 'a link, ["NODE ID", OUTPUT NUMBER]'
WANTED = {"INT": "a whole number", "FLOAT": "a number", "BOOLEAN": "true or false"}
