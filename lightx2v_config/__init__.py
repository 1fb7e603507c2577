"""A LightX2V run configuration (JSON) in ComfyUI's terms: which files, which scheme, which offloading, and what is left
for the graph to say."""

from .config import Config, ConfigError, read_config
from .discovery import Parts, find_parts
from .offloading import offload_settings
from .report import report_lines
from .schemes import scheme_choice
from .search_paths import Places

__all__ = [
    "Config",
    "ConfigError",
    "Parts",
    "Places",
    "find_parts",
    "offload_settings",
    "read_config",
    "report_lines",
    "scheme_choice",
]
