"""Which version of the pack this is."""

VERSION = "0.1.0"
