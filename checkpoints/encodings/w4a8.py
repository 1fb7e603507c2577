"""w4a8 as ComfyUI's `asym_w4a8_int8` has it: codes, `weight_s_rel` per group, `weight_s_channel` per row and the table
of levels. Told by the marker alone, which says how wide the rotated groups are.

Of core's variants those with wider groups of scales and those without a table become what the format has, with every
value as it was. Where codes have 6 bits or scales are float32, the int8 weights that they stand for are read.
"""

from functools import partial

import torch

from ...formats import ROTATED, ROTATIONS, w4a8
from ...formats.lloyd_max import LEVELS
from ...formats.w4a8_codes import GROUP, LARGEST, PER_BYTE, packed, unpacked
from .encoding import COMFYUI, X2V, Encoding, TensorRole, WrongValueError
from .scales import FLOATS, SILENCED, scale

S_REL = "weight_s_rel"
CODES, S_CHANNEL = TensorRole(("weight",), ("int8",)), TensorRole(("weight_s_channel",), FLOATS)
EIGHT_BITS = ("float8_e4m3fn", "uint8")
CODEBOOK = TensorRole(("weight_codebook",), FLOATS, optional=True)
# float8 bytes from here on are negative or no number
FIRST_WRONG = 0x7F
# a table's largest level, times the largest scale that float8 has or the smallest, is no int8 weight but 0 or 127
SMALLEST_LEVEL, LARGEST_LEVEL = 0.5 / 448, LARGEST * 2.0**9
# 6 bits: the low nibbles of a row, then two more bits of four codes in a byte; a code is an integer, and this one is 0
SIX, PER_HIGH_BYTE, ZERO = 6, 4, 32


def shape(shapes, rotation, bits=4):
    """(N, K) where every tensor is what a K of that many groups and codes of `bits` ask for."""
    (n, width), scales = shapes["codes"], shapes["scale"]
    k, odd = divmod(width * 8, bits)
    group = k // scales[1] if len(scales) == 2 and scales[0] == n and scales[1] else 0
    fits = not odd and group and group * scales[1] == k and group % GROUP == 0 and k % rotation == 0
    # 3 bytes are four codes of 6 bits or six of 4, in groups half as wide again, which no file has
    fits = fits and (group == shapes["group_size"][0] if "group_size" in shapes else (group // GROUP).bit_count() == 1)
    table = shapes.get("codebook", (LEVELS,)) == (LEVELS,)
    return (n, k) if fits and table and shapes.get("s_channel", (n,)) in ((n,), (n, 1)) else None


def unpack(tensors, shape):
    stored = tensors["scale"].contiguous().view(torch.uint8)
    if not stored.is_meta and bool((stored >= FIRST_WRONG).any()):
        raise WrongValueError("scale", "has a scale that is negative or not a number")
    stored = stored.repeat_interleave(shape[1] // GROUP // stored.shape[1], dim=1)
    codes, codebook = _rising(tensors["codes"], _codebook(tensors))
    return {
        "codes": codes,
        "scale": stored.view(torch.float8_e4m3fn),
        "s_channel": _s_channel(tensors),
        "codebook": codebook,
    }


def _rising(codes: torch.Tensor, codebook: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and the levels that they stand for, in the order that rounding to the nearest needs."""
    if codebook.is_meta or bool((codebook.diff() >= 0).all()):
        return codes, codebook
    codebook, order = codebook.sort(stable=True)
    if codes.is_meta:
        return codes, codebook
    place = torch.empty_like(order).scatter_(0, order, torch.arange(LEVELS, device=order.device))
    return packed(place.to(codes.device)[unpacked(codes).int()]), codebook


def pack(tensors, shape):
    """What core writes; a table that is only the integers is left out, as it is in files of that kind."""
    plain = not tensors["codebook"].is_meta and torch.equal(tensors["codebook"].cpu(), integers())
    return {name: tensor for name, tensor in tensors.items() if not (plain and name == "codebook")}


def integers() -> torch.Tensor:
    """The levels of a file without a table, float32 [16]."""
    return torch.arange(LEVELS, dtype=torch.float32) - LEVELS // 2


def expanded(tensors, shape, bits=4):
    """int8 [N, K] and a scale per row, of the same values."""
    codes, scales = tensors["codes"], _scales(tensors)
    if codes.is_meta:
        return {"codes": torch.empty(shape, dtype=torch.int8, device="meta"), "scale": _s_channel(tensors).unsqueeze(1)}
    values = _codebook(tensors)[unpacked(codes).int()] if bits == 4 else _six_bits(codes, shape[1])
    if bool(((scales == 0).all(dim=1) & (values.abs() >= 0.5).any(dim=1)).any()):
        raise WrongValueError("scale", SILENCED)
    values = values.unflatten(1, (scales.shape[1], -1)) * scales.unsqueeze(2)
    levels = values.round_().clamp_(-LARGEST, LARGEST).to(torch.int8).flatten(1)
    return {"codes": levels, "scale": _s_channel(tensors).unsqueeze(1)}


def _six_bits(codes: torch.Tensor, columns: int) -> torch.Tensor:
    """int8 [N, 3 K / 4] -> float32 [N, K] of -32 ... 31."""
    low, high = codes[:, : columns // PER_BYTE], codes[:, columns // PER_BYTE :].view(torch.uint8)
    shifts = torch.arange(0, 8, 2, dtype=torch.uint8, device=codes.device)
    upper = ((high.unsqueeze(2) >> shifts) & 3).flatten(1)
    return (unpacked(low) | (upper << 4)).float().sub_(ZERO)


def _scales(tensors) -> torch.Tensor:
    """float32 [N, groups]"""
    stored = tensors["scale"]
    return scale(stored.view(torch.float8_e4m3fn) if stored.dtype is torch.uint8 else stored)


def _s_channel(tensors) -> torch.Tensor:
    try:
        return scale(tensors["s_channel"]).flatten()
    except WrongValueError as error:
        raise WrongValueError("s_channel", error.cause, error.remedy) from error


def _codebook(tensors) -> torch.Tensor:
    """float32 [16], a copy of its own: layers may share what the file has."""
    if "codebook" not in tensors:
        return integers().to(tensors["codes"].device)
    values = tensors["codebook"].to(torch.float32, copy=True)
    if not values.is_meta and not bool(values.isfinite().all()):
        raise WrongValueError("codebook", "has a level that is not a number")
    largest = 0.0 if values.is_meta else float(values.abs().amax())
    if not values.is_meta and not SMALLEST_LEVEL < largest < LARGEST_LEVEL:
        raise WrongValueError("codebook", f"has levels up to {largest:g}, of which no scale makes a weight")
    return values


def _rows(rotation: int, name: str) -> list[Encoding]:
    told = {"marks": (name,), "unmarked": False}
    of_rotation = partial(shape, rotation=rotation)

    def tensors(dtypes: tuple[str, ...], **others: TensorRole) -> dict[str, TensorRole]:
        return {"codes": CODES, "scale": TensorRole((S_REL,), dtypes), "s_channel": S_CHANNEL, **others}

    rows = [
        Encoding(
            name,
            tensors(EIGHT_BITS, codebook=CODEBOOK),
            of_rotation,
            unpack,
            pack,
            (COMFYUI, X2V),
            multiples=(1, max(GROUP, rotation)),
            row_vectors=("s_channel",),
            **told,
        )
    ]
    if rotation in ROTATED:
        int8, wide, any_type = ROTATED[rotation], tensors(FLOATS, codebook=CODEBOOK), tensors((*EIGHT_BITS, *FLOATS))
        six, of_six = partial(of_rotation, bits=SIX), partial(expanded, bits=SIX)
        rows.append(Encoding(int8, wide, of_rotation, expanded, rescaled=True, **told))
        rows.append(Encoding(int8, any_type, six, of_six, rescaled=True, **told))
    return rows


ENCODINGS = tuple(row for rotation, name in ROTATIONS[w4a8.NAME].items() for row in _rows(rotation, name))
