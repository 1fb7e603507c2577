"""Every error that the pack can raise, as a row: what is done, and what the message then says. One file per noun.

A new error is a row here, or one in unreachable.py that says why no workflow comes to it; tests/server/test_errors.py
runs the rows in the real server and finds a `raise` that has neither.
"""

from . import (
    calibrations,
    configurations,
    experts,
    folders,
    headers,
    joined_layers,
    lines,
    loras,
    marked_layers,
    models,
    names,
    offload,
    quantized_layers,
    quantizing,
    sampling,
    saving,
    schemes,
    smoothed_layers,
    tokenizers,
    torch_files,
    values,
)

NOUNS = (
    headers,
    torch_files,
    folders,
    quantized_layers,
    marked_layers,
    smoothed_layers,
    values,
    joined_layers,
    models,
    tokenizers,
    schemes,
    names,
    experts,
    configurations,
    lines,
    quantizing,
    calibrations,
    saving,
    loras,
    offload,
    sampling,
)
# "noun: what is wrong" -> the case
CASES = {f"{noun.__name__.rpartition('.')[2]}: {name}": case for noun in NOUNS for name, case in noun.CASES.items()}
