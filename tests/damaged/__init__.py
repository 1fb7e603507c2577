"""Damaged model files by the thousand: sound small files, tables of damages, and what the pack says of each result."""

from .run import Damaged, damaged_files
from .verdict import BAD, SILENT, SLOW, TRACEBACK, Judge, Verdict

__all__ = ["BAD", "SILENT", "SLOW", "TRACEBACK", "Damaged", "Judge", "Verdict", "damaged_files"]
