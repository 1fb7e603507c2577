"""The command line: its commands, and how it reads them."""

from .main import main

__all__ = ["main"]
