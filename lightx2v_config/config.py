"""The parsed JSON of a configuration, with the older `mm_config` translated to today's keys."""

import json
from dataclasses import dataclass, field
from typing import Any

from ..common.printable import PrintableError

UNQUANTIZED = "default"  # begins Default and Default-Force-FP32, which mean no quantization
# beginnings of placeholder paths in LightX2V's examples
PLACEHOLDERS = ("/path/to", "path/to", "path to")
KINDS = {str: "a text", int: "a number", (int, float): "a number", bool: "true or false", list: "a list"}


class ConfigError(PrintableError, ValueError):
    """The configuration or its model folder cannot be used. The message names file, key, cause and remedy."""


@dataclass(frozen=True)
class Config:
    """`name`: name in messages. `values`: the JSON's keys, `mm_config` replaced by today's. `notes`: sentences about
    what was replaced."""

    name: str
    values: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def get(self, key: str, kind: Any, default: Any = None) -> Any:
        """The value of a key, `default` if missing or null. Raises ConfigError unless its type is `kind` (of KINDS)."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"is {json.dumps(value)}, not {KINDS[kind]}", "Correct it or leave it out.")
        return value

    def on(self, key: str, default: bool = False) -> bool:
        return self.get(key, bool, default)

    def path(self, key: str) -> str | None:
        """The path under a key; None if it is missing, empty or a placeholder."""
        value = self.get(key, str, "").strip()
        return None if not value or value.lower().startswith(PLACEHOLDERS) else value

    def quantized(self, component: str) -> bool:
        """Whether "dit", "t5" or "clip" is to be quantized: by its switch or (LightX2V refuses that) a scheme alone."""
        return self.on(f"{component}_quantized") or self.scheme(component) is not None

    def scheme(self, component: str) -> str | None:
        name = self.get(f"{component}_quant_scheme", str, "").strip()
        return None if not name or name.lower().startswith(UNQUANTIZED) else name

    def error(self, key: str, cause: str, remedy: str) -> ConfigError:
        return ConfigError(f"{self.name}: {key} {cause}. {remedy}")


def read_config(text: str, name: str) -> Config:
    """Parse a configuration. name: for messages. Raises ConfigError if the text is no JSON object."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name} is no JSON: {error}. Copy the whole file from {{ to }}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{name} has no table of settings ({{...}}). Pick a LightX2V configuration.")
    return _from_mm_config(Config(name, dict(values)))


def _from_mm_config(config: Config) -> Config:
    """Translate `mm_config`, where the diffusion model's scheme was before October 2025; LightX2V ignores it today."""
    old = config.values.pop("mm_config", None)
    if old is None:
        return config
    mm_type = old.get("mm_type") if isinstance(old, dict) else None
    if not isinstance(mm_type, str):
        raise config.error("mm_config", "names no mm_type", "Write dit_quant_scheme instead.")
    note = f"mm_config is LightX2V's older way: read as dit_quant_scheme = {mm_type}"
    if config.scheme("dit") is not None:
        note = "mm_config is not read: dit_quant_scheme says the same in LightX2V's present way"
    elif not mm_type.lower().startswith(UNQUANTIZED):
        config.values.update(dit_quantized=True, dit_quant_scheme=mm_type)
    return Config(config.name, config.values, [note])
