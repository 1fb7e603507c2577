"""The report on a configuration: what is loaded, what to set in the graph, which keys are ignored and why."""

import difflib
import json

from .config import Config
from .discovery import Models
from .sampling import sampling_lines
from .settings import CORE, DEAD, NOT_HERE, NOT_NEEDED, Setting, known_keys, setting_of

# values that switch a setting off
OFF = (False, None, "", [], "NoCaching", 0)
LONGEST = 80  # characters of a value
FIRST = 2  # settings of the sampler that the first line names
SECTIONS = {
    CORE: "Set in the graph",
    NOT_HERE: "Not available here",
    NOT_NEEDED: "Nothing to do",
    DEAD: "Ignored",
}


def report_lines(config: Config, models: Models, scheme, offload, notes: list[str]) -> list[str]:
    """The verdict, then the report. scheme, offload: SchemeChoice and OffloadSettings of the configuration. notes:
    sentences about them."""
    rows = _rows(config)
    sampling = sampling_lines(config, models.low is not None)
    set_in_graph = [f"- {line}" for line in sampling]
    lines = [
        verdict(models, sampling),
        "",
        f"{config.name}",
        "",
        "Loaded:",
        *(f"- {output}: {_model(found)}" for output, found in models.found.items()),
        f"- scheme: dit {scheme.dit}, t5 {scheme.t5}, clip {scheme.clip}",
        f"- offload: {offload.mode}, t5 {offload.t5}, clip {offload.clip}",
    ]
    remarks = [*config.notes, *notes, *models.notes]
    if models.low is None:
        remarks.append("The model has one expert: both MODEL outputs are the same.")
    lines += ["", "Note:", *(f"- {remark}" for remark in remarks)] if remarks else []
    for who, title in SECTIONS.items():
        found = [f"- {_values(config, keys)}: {row.says}" for row, keys in rows.items() if row.who == who]
        found = set_in_graph + found if who == CORE else found
        lines += ["", f"{title}:", *found] if found else []
    unknown = [f"- {key} = {_shown(value)}{_similar(key)}" for key, value in config.values.items() if _unknown(key)]
    return lines + (["", "Unknown:", *unknown] if unknown else [])


def verdict(models: Models, sampling: list[str]) -> str:
    """What is loaded and what to set, in one line. sampling: from `sampling_lines`."""
    more = f"; {len(sampling) - FIRST} more in the report" if len(sampling) > FIRST else ""
    return f"Loaded: {', '.join(models.found)}. Now set: {'; '.join(sampling[:FIRST])}{more}."


def _rows(config: Config) -> dict[Setting, list[str]]:
    """Row -> the configuration's keys that it describes, without those whose value is off."""
    rows: dict[Setting, list[str]] = {}
    for key, value in config.values.items():
        row = setting_of(key)
        if row is not None and (value not in OFF or row.who == DEAD):
            rows.setdefault(row, []).append(key)
    return rows


def _model(found) -> str:
    formats = " and ".join(found.checkpoint.formats) or "not quantized"
    return f"{found.path.name} ({found.checkpoint.model}, {formats})"


def _values(config: Config, keys: list[str]) -> str:
    return ", ".join(f"{key} = {_shown(config.values[key])}" for key in keys)


def _shown(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _unknown(key: str) -> bool:
    return setting_of(key) is None


def _similar(key: str) -> str:
    near = difflib.get_close_matches(key, known_keys(), 1, 0.8)
    return f" (nearest that is known: {near[0]})" if near else ""
