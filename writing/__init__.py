"""Writes files safely: names valid on every system, one writer at a time, complete or not there at all."""

from .errors import WriteError, words
from .locking import only_writer
from .names import PARTIAL, beside, check_name, check_path, unfit
from .whole import made_folder, whole_file

__all__ = [
    "PARTIAL",
    "WriteError",
    "beside",
    "check_name",
    "check_path",
    "made_folder",
    "only_writer",
    "unfit",
    "whole_file",
    "words",
]
