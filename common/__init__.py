"""Helpers for every other package: limits, the log, text that is safe to print, how commands end."""
