"""Reads a LightX2V run configuration (JSON): its model files, schemes and offloading, and the settings that belong into
the graph."""

from .config import Config, ConfigError, read_config
from .discovery import Models, find_models
from .offloading import offload_settings
from .report import report_lines
from .schemes import scheme_choice
from .search_paths import SearchPaths

__all__ = [
    "Config",
    "ConfigError",
    "Models",
    "SearchPaths",
    "find_models",
    "offload_settings",
    "read_config",
    "report_lines",
    "scheme_choice",
]
