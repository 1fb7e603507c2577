"""Damages of what small tensors hold: scales, norms, biases that are no numbers, zero, or of another type."""

import random
from collections.abc import Callable

import torch

from .editable import Editable

LARGEST = 70_000  # bytes of a tensor that counts as small
FLOATS = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}
INTEGERS = {"I16": torch.int16, "I32": torch.int32, "I64": torch.int64, "U8": torch.uint8, "BOOL": torch.bool}
CODES = {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I8": torch.int8}


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _floats(file: Editable, scales: bool) -> list[int]:
    return [
        index
        for index, (name, entry) in enumerate(file.entries)
        if entry["dtype"] in FLOATS
        and 0 < entry["data_offsets"][1] - entry["data_offsets"][0] <= LARGEST
        and ("scale" in name and "scale_shift" not in name) == scales
    ]


def _tensor(file: Editable, index: int) -> torch.Tensor:
    entry = file.entries[index][1]
    return torch.frombuffer(bytearray(file.bytes_of(entry)), dtype=FLOATS[entry["dtype"]]).reshape(entry["shape"])


def _set(rng: random.Random, file: Editable, scales: bool, values: tuple[float, ...], everywhere: bool) -> None:
    indexes = _floats(file, scales)
    if not indexes:
        return
    index = rng.choice(indexes)
    tensor = _tensor(file, index).clone()
    flat = tensor.view(-1)
    if everywhere:
        flat[:] = rng.choice(values)
    else:
        flat[rng.randrange(len(flat))] = rng.choice(values)
    entry = file.entries[index][1]
    file.replace(index, entry["dtype"], entry["shape"], raw(tensor))


BAD_NUMBERS = (float("nan"), float("inf"), float("-inf"))


def scale_no_number(rng: random.Random, file: Editable) -> None:
    _set(rng, file, True, BAD_NUMBERS, rng.random() < 0.3)


def scale_not_positive(rng: random.Random, file: Editable) -> None:
    _set(rng, file, True, (-1.0, -1e-3, 0.0), rng.random() < 0.3)


def kept_no_number(rng: random.Random, file: Editable) -> None:
    _set(rng, file, False, BAD_NUMBERS, rng.random() < 0.3)


def _retyped(rng: random.Random, file: Editable, scales: bool, types: dict[str, torch.dtype]) -> None:
    indexes = _floats(file, scales)
    if not indexes:
        return
    index = rng.choice(indexes)
    dtype = rng.choice(tuple(types))
    tensor = _tensor(file, index).float().nan_to_num().clamp(-100, 100)
    file.replace(index, dtype, file.entries[index][1]["shape"], raw(tensor.to(types[dtype])))


def kept_as_integers(rng: random.Random, file: Editable) -> None:
    _retyped(rng, file, False, INTEGERS)


def kept_as_codes(rng: random.Random, file: Editable) -> None:
    _retyped(rng, file, False, CODES)


def scale_of_another_type(rng: random.Random, file: Editable) -> None:
    _retyped(rng, file, True, {**INTEGERS, **CODES})


def scale_of_another_size(rng: random.Random, file: Editable) -> None:
    indexes = _floats(file, True)
    if not indexes:
        return
    index = rng.choice(indexes)
    flat = _tensor(file, index).reshape(-1)
    size = rng.choice([size for size in (0, 2, 3, len(flat) - 1, len(flat) + 1, len(flat) * 2) if size != len(flat)])
    tensor = flat[:1].expand(size) if size else flat[:0]
    file.replace(index, file.entries[index][1]["dtype"], [size, 1] if rng.random() < 0.5 else [size], raw(tensor))


DAMAGES: dict[str, Callable[[random.Random, Editable], None]] = {
    "a scale that is no number": scale_no_number,
    "a scale that is not positive": scale_not_positive,
    "a kept value that is no number": kept_no_number,
    "a kept tensor of integers": kept_as_integers,
    "a kept tensor of codes": kept_as_codes,
    "a scale of another type": scale_of_another_type,
    "a scale of another size": scale_of_another_size,
}
