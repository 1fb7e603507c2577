"""Each tensor of a layer, damaged in turn, in every encoding: it is refused by name, or nothing comes out otherwise."""

import json
import math
from collections.abc import Iterator

import pytest
import torch
from kinds import infos
from safetensors.torch import save_file
from whole_weight import quantize

from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.benchmarks.quantize_int4 import gptq_asymmetric
from x2v_quant.checkpoints import CheckpointError, markers, open_checkpoint
from x2v_quant.checkpoints.encodings import ENCODINGS, INPUT_SCALES, X2V, find
from x2v_quant.checkpoints.outline import read_outline
from x2v_quant.converting.dialects import MARKER, layer_tensors
from x2v_quant.formats import FORMATS, before_repacking

from .encoded import DIT, Q, marker

LEAST = (130, 768)
CODES = {end for row in ENCODINGS for end in row.tensors["codes"].ends}
# any value of these is one that a writer may have chosen
ANY_VALUE = ("qzeros", "weight_zeros")
SOME_ZEROS = ("weight_codebook",)
Layer = dict[str, torch.Tensor]


def weight(n: int, k: int) -> torch.Tensor:
    return torch.randn((n, k), generator=torch.Generator().manual_seed(n)) * 0.02


def written(row, dialect: str) -> Layer:
    """A random weight in the row's format, in the tensors of a dialect."""
    steps = map(math.lcm, row.multiples, FORMATS[row.format].multiples, (1, FORMATS[row.format].rotation or 1))
    shape = tuple(math.ceil(count / step) * step for count, step in zip(LEAST, steps, strict=True))
    factor = torch.linspace(0.5, 1.5, shape[1]) if FORMATS[row.format].smooth else None
    plain = before_repacking(row.format)
    values = weight(*shape)
    made = quantize(lambda a, b: values[a:b].clone(), shape, plain, "here", factor=factor)
    if "input_scale" in made.tensors:
        made.tensors["input_scale"] = torch.tensor([0.25])
    return layer_tensors(made, dialect)


def words(kind: str) -> Layer:
    layer = KINDS[kind](weight(256, 768))
    return {**layer, "weight_scale": layer["weight_scale"].view(torch.uint8).view(torch.int32)}


def bytes_of(kind: str) -> Layer:
    layer = KINDS[kind](weight(256, 768))
    return {**layer, "weight_scale": layer["weight_scale"].view(torch.uint8)}


def bitsandbytes() -> Layer:
    values = weight(*LEAST)
    largest = values.abs().amax(dim=1)
    return {
        "weight": (values / largest.unsqueeze(1) * 127).round().to(torch.int8),
        "SCB": largest,
        "weight_format": torch.tensor(0, dtype=torch.uint8),
    }


def e5m2() -> Layer:
    values = weight(*LEAST)
    scale = values.abs().amax(dim=1, keepdim=True) / 57344
    return {"weight": (values / scale).to(torch.float8_e5m2), "weight_scale": scale}


def uncalibrated() -> Layer:
    layer = KINDS["fp8-tensor"](weight(*LEAST))
    return {end: layer[end] for end in ("weight", "weight_scale")} | {MARKER: marker("fp8-tensor")}


def calibrated_nvfp4() -> Layer:
    layer = KINDS["nvfp4"](weight(*LEAST))
    whole = layer.pop("weight_global_scale")
    return {**layer, "input_global_scale": torch.tensor([2.0]), "alpha": 0.5 / whole}


def wide_w4a8(rotation: int, bits: int) -> Layer:
    """Core's w4a8 with float32 scales, or with codes of 6 bits."""
    n, k = LEAST
    generator = torch.Generator().manual_seed(bits)
    return {
        "weight": torch.randint(-128, 128, (n, k * bits // 8), dtype=torch.int8, generator=generator),
        "weight_s_rel": torch.rand((n, k // 16), generator=generator) + 0.5,
        "weight_s_channel": torch.rand(n, generator=generator) * 0.001 + 0.001,
        **({"weight_codebook": torch.linspace(-8, 7, 16)} if bits == 4 else {}),
        MARKER: marker("asym_w4a8_int8", convrot_groupsize=rotation),
    }


def ordered(kind: str) -> Layer:
    layer = KINDS[kind](weight(*LEAST) if kind == "int4-compressed" else weight(256, 768))
    end = "weight_g_idx" if kind == "int4-compressed" else "g_idx"
    return {**layer, end: torch.arange(768, dtype=torch.int32) // 128}


def sources() -> Iterator[tuple[str, Layer]]:
    for row in ENCODINGS:
        for dialect in row.dialects:
            yield f"{row.format}-{dialect}-{'marked' if row.unmarked is False else 'told'}", (written, row, dialect)
    for kind in KINDS:
        yield f"{kind}-written-by-others", (lambda kind: KINDS[kind](weight(256, 768)), kind)
    for kind in ("mxfp4", "mxfp6", "mxfp8"):
        yield f"{kind}-words", (words, kind)
        yield f"{kind}-bytes", (bytes_of, kind)
    for kind in ("int4-compressed", "int4-gptq", "int4-gptq-asymmetric"):
        yield f"{kind}-ordered", (ordered, kind)
    for group in (32, 64):
        yield f"int4-gptq-asymmetric-{group}", (lambda group: gptq_asymmetric(weight(256, 768), group), group)
    yield "fp8-tensor-uncalibrated", (uncalibrated,)
    for rotation in (16, 64, 256):
        yield f"w4a8-{rotation}-float", (wide_w4a8, rotation, 4)
        yield f"w4a8-{rotation}-6-bits", (wide_w4a8, rotation, 6)
    yield "bitsandbytes", (bitsandbytes,)
    yield "fp8-e5m2", (e5m2,)
    yield "nvfp4-calibrated", (calibrated_nvfp4,)


SOURCES = dict(sources())


def damages(end: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """(what was done, the tensor after it)."""
    if tensor.ndim == 2:
        yield "transposed", tensor.t()
        yield "without a column", tensor[:, :-1]
    elif tensor.ndim == 1:
        yield "in a column", tensor.unsqueeze(1)
    if tensor.ndim:
        yield "without a row", tensor[:-1]
        yield "half", tensor[: (len(tensor) + 1) // 2]
    else:
        yield "of two", tensor.repeat(2)
    yield "of no values", tensor.new_empty(0)
    yield "in another type", tensor.to(torch.int64 if tensor.is_floating_point() else torch.float32)
    if end not in CODES:
        yield "as bytes", tensor.contiguous().reshape(-1, *tensor.shape[1:]).view(torch.int8)
        yield from wrong_values(end, tensor)


def wrong_values(end: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    one_byte = tensor.is_floating_point() and tensor.itemsize == 1
    if end not in ANY_VALUE:
        yield "zero", filled(tensor, 0)
    # a quiet block may have a scale in e4m3 that is zero
    if end not in (*ANY_VALUE, *SOME_ZEROS) and tensor.dtype is not torch.float8_e4m3fn:
        yield "with a row of zeros", first(tensor, 0)
    if one_byte or not tensor.is_floating_point():
        if end not in ANY_VALUE:
            yield "all bits set", filled(tensor, 0xFF)
            yield "with a row of set bits", first(tensor, 0xFF)
        return
    for value in (math.nan, math.inf, -math.inf):
        yield f"all {value}", torch.full_like(tensor, value)
        changed = tensor.clone()
        changed.view(-1)[-1] = value
        yield f"with {value}", changed


def filled(tensor: torch.Tensor, byte: int) -> torch.Tensor:
    octets = torch.full((tensor.numel() * tensor.itemsize,), byte, dtype=torch.uint8)
    return octets.view(tensor.dtype).view(tensor.shape)


def first(tensor: torch.Tensor, byte: int) -> torch.Tensor:
    """The first row filled, or all that there is of a single one."""
    changed = tensor.clone()
    row = changed[:1] if tensor.ndim else changed
    row.copy_(filled(row, byte))
    return changed


def save_layer(path, layer: Layer) -> None:
    save_file({**DIT, **{f"{Q}.{end}": tensor.contiguous() for end, tensor in layer.items()}}, path)


def loaded(path, layer: Layer):
    """The layer as it is loaded."""
    save_layer(path, layer)
    checkpoint = open_checkpoint(path)
    checkpoint.require("dit")
    return checkpoint.load().quantized[Q]


def bits(stored) -> dict[str, tuple]:
    return {
        name: (tensor.dtype, tensor.shape, tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        for name, tensor in stored.tensors.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_a_damaged_tensor_is_refused_by_name_or_changes_nothing(source, tmp_path):
    make, *arguments = SOURCES[source]
    layer, path = make(*arguments), tmp_path / "model.safetensors"
    whole = loaded(path, layer)
    expected, wrong = (whole.format, whole.shape, bits(whole)), []
    for end, tensor in layer.items():
        for what, damaged in damages(end, tensor) if end != MARKER else ():
            if (damaged.shape, damaged.dtype) == (tensor.shape, tensor.dtype) and damaged.equal(tensor):
                continue
            if end in INPUT_SCALES and not damaged.numel():  # that of a layer without a calibration
                continue
            try:
                found = loaded(path, {**layer, end: damaged})
            except CheckpointError as error:
                if Q not in str(error):
                    wrong.append(f"{end} {what}: {error}")
                refused = True
            except Exception as error:
                wrong.append(f"{end} {what}: {error!r}")
                continue
            else:
                refused = False
                # a layer of another shape is refused by the model
                if found.shape == whole.shape and (found.format, found.shape, bits(found)) != expected:
                    wrong.append(f"{end} {what}: read as {found.format} {found.shape}")
            told = bool((checkpoint := open_checkpoint(path)).problems or read_outline(checkpoint).problems)
            if told != refused:
                wrong.append(f"{end} {what}: inspect says {told}, loading {refused}")
    assert not wrong, "\n".join(wrong)


def test_every_encoding_is_damaged():
    read = set()
    for make, *arguments in SOURCES.values():
        layer = make(*arguments)
        mark = markers.from_entry(json.loads(bytes(layer.pop(MARKER)))) if MARKER in layer else None
        hit = find(infos(layer), *((mark.format, mark.shape, (), mark.group_size) if mark else (None,)))
        read.add(ENCODINGS.index(hit.encoding))
    left = [(row.format, row.dialects, row.origin) for index, row in enumerate(ENCODINGS) if index not in read]
    # the one has the tensors and the names of ComfyUI's, the other is made in memory
    assert left == [("awq-w4a16", ("x2v",), ""), ("int4-g128-marlin-smooth", (), "")]


@pytest.mark.parametrize(
    "row", [row for row in ENCODINGS if X2V in row.dialects and not row.padded], ids=lambda row: row.format
)
def test_a_marker_of_another_shape_is_refused(row, tmp_path):
    layer, path = written(row, X2V), tmp_path / "model.safetensors"
    shape, entry = loaded(path, layer).shape, json.loads(bytes(layer[MARKER]))
    for rows, refused in ((shape[0], False), (shape[0] + 1, True)):
        said = {**entry, "orig_shape": [rows, shape[1]]}
        save_layer(path, {**layer, MARKER: marker(said.pop("format"), **said)})
        problems = open_checkpoint(path).problems
        assert [problem.key for problem in problems] == [f"{Q}.weight"] * refused
        assert not refused or f"is marked as [{rows}, {shape[1]}] (orig_shape)" in problems[0].cause
