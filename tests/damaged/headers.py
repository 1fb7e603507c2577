"""Damages of a safetensors header: names, types, shapes, places, duplicates, metadata, markers, foreign tensors."""

import json
import random
from collections.abc import Callable

from .editable import Editable

Damage = Callable[[random.Random, Editable], None]

TYPES = ("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "BF16", "F32", "F64", "C64")
TYPES += ("F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "f32", "int8", "", "X" * 300, None, 7, ["F32"], {"a": 1})
BYTES = {"U8": 1, "I8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
BYTES |= {"F32": 4, "I32": 4, "U32": 4, "F64": 8, "I64": 8, "U64": 8}
SIZES = (0, -1, 1, 2**31, 2**63, 2**64, 1.5, "4", None, [4], True)
NAMES = ("", " ", "weight", ".", "..", "a\x00b", "a\nproblem: none", "\u202eabc", "\ud800", "x" * 5000, "__metadata__")
NAMES += ("block.0.weight", "blocks.-1.ffn.0.weight", "blocks.99999999999999999999.ffn.0.weight", "blocks.0.ffn.0")
JSON = ([], {}, 0, 3, 1.5, True, None, "", "x", [[]], {"transformer": 3}, {"transformer": []}, {"transformer": {}})
JSON += ({"transformer": {"text_dim": "x"}}, {"transformer": {"text_dim": -1}}, {"transformer": {"dim": 10**12}})
JSON += ({"transformer": {"num_layers": None}}, {"a" * 1000: 1}, {"vae": {}}, {"transformer": {"unknown_setting": 1}})
MARKS = ("format", "params", "group_size", "orig_shape", "convrot", "convrot_groupsize", "full_precision_matrix_mult")
SCALE_NAMES = ("weight_scale", "scale_weight", "scale_input", "input_scale", "weight_scale_2", "weight_zero_point")
SCALE_NAMES += ("scale_inv", "weight_scale_inv", "pre_quant_scale", "weight_global_scale", "smooth_scale")


def any_one(rng: random.Random, file: Editable) -> int:
    return rng.randrange(len(file.entries))


def edit(rng: random.Random, file: Editable, **fields) -> None:
    index = any_one(rng, file)
    name, entry = file.entries[index]
    file.entries[index] = (name, {**entry, **fields})


def renamed(rng: random.Random, file: Editable) -> None:
    index = any_one(rng, file)
    name, entry = file.entries[index]
    place = rng.randrange(len(name) + 1)
    choices = (
        *NAMES,
        name.upper(),
        f"{name}.weight",
        f"model.{name}",
        f" {name}",
        name[:place] + name[place + 1 :],
        f"{name[:place]}x{name[place:]}",
        name.replace("weight", "kernel"),
        name.replace(".0.", ".7."),
        name.replace("_scale", ""),
    )
    file.entries[index] = (rng.choice(choices), entry)


def all_renamed(rng: random.Random, file: Editable) -> None:
    change = rng.choice((str.upper, lambda n: f"{n}.", lambda n: f"a.b.{n}", lambda n: n.replace(".", "_"), str.title))
    file.entries = [(change(name), entry) for name, entry in file.entries]


def swapped_names(rng: random.Random, file: Editable) -> None:
    one, other = any_one(rng, file), any_one(rng, file)
    (name, entry), (second, held) = file.entries[one], file.entries[other]
    if one != other and entry["shape"] != held["shape"]:
        file.entries[one], file.entries[other] = (second, entry), (name, held)
    else:
        file.entries[one] = (f"{name}_", entry)


def retyped(rng: random.Random, file: Editable) -> None:
    edit(rng, file, dtype=rng.choice(TYPES))


def same_width_type(rng: random.Random, file: Editable) -> None:
    """Another type of as many bytes, so that only its meaning is wrong."""
    index = any_one(rng, file)
    name, entry = file.entries[index]
    width = BYTES[entry["dtype"]]
    # floats of one width for each other are a sound file of other numbers
    floats = ("F16", "BF16", "F8_E4M3", "F8_E5M2", "F32", "F64")
    others = [
        dtype
        for dtype, size in BYTES.items()
        if size == width and not (dtype in floats and entry["dtype"] in floats) and dtype != entry["dtype"]
    ]
    file.entries[index] = (name, {**entry, "dtype": rng.choice(others)})


def reshaped(rng: random.Random, file: Editable) -> None:
    index = any_one(rng, file)
    name, entry = file.entries[index]
    shape = list(entry["shape"])
    product = 1
    for size in shape:
        product *= size
    choices = [shape[::-1], [product], [1, *shape], [*shape, 1], [product, 1], [1] * 70, [], None, "4", {}, [shape]]
    choices += [[*shape[:-1], size] for size in SIZES]
    choices += [[size * 2, *shape[1:-1], shape[-1] // 2] for size in shape[:1] if len(shape) > 1]
    wrong = [choice for choice in choices if choice != shape]
    file.entries[index] = (name, {**entry, "shape": rng.choice(wrong)})


def moved(rng: random.Random, file: Editable) -> None:
    index = any_one(rng, file)
    name, entry = file.entries[index]
    begin, end = entry["data_offsets"]
    choices = ([end, begin], [begin, end + 1], [begin - 1, end], [begin + 2, end + 2], [0, end - begin], [begin], None)
    choices += ([-begin - 1, end], [begin, 2**63], [begin, 2**70], [float(begin), end], [begin, end, end], "0,1", [])
    choices += ([end + len(file.data), 2 * end + len(file.data)], [begin, begin], [True, end])
    wrong = [choice for choice in choices if choice != [begin, end]]
    file.entries[index] = (name, {**entry, "data_offsets": rng.choice(wrong)})


def no_table(rng: random.Random, file: Editable) -> None:
    index = any_one(rng, file)
    name, entry = file.entries[index]
    less = {key: value for key, value in entry.items() if key != rng.choice(tuple(entry))}
    file.entries[index] = (name, rng.choice((less, [], None, 3, "F32", [entry], {**entry, "extra": 1})))


def doubled(rng: random.Random, file: Editable) -> None:
    """One name twice: readers differ in which they take."""
    name, _ = file.entries[any_one(rng, file)]
    _, other = file.entries[any_one(rng, file)]
    file.entries.insert(any_one(rng, file), (name, other))


def lost(rng: random.Random, file: Editable) -> None:
    for _ in range(rng.choice((1, 1, 1, 3, len(file.entries) // 2))):
        file.drop(any_one(rng, file))


def foreign(rng: random.Random, file: Editable) -> None:
    stem = file.entries[any_one(rng, file)][0].rpartition(".")[0]
    names = [f"{stem}.{end}" for end in SCALE_NAMES]
    names += [f"{stem}.lora_A.weight", "decoder.conv_in.weight", "optimizer.0.exp_avg", "text_model.encoder.a", "step"]
    names += [
        f"{stem}.weight.",
        f"{stem}.new.weight",
        "blocks.77.ffn.0.weight",
        "vae.decoder.conv.weight",
        "spiece_model",
    ]
    taken = {name for name, _ in file.entries}
    name = rng.choice([name for name in names if name not in taken])
    shape = rng.choice(([], [1], [4, 4], [128], [128, 1], [0]))
    count = 1
    for size in shape:
        count *= size
    kind = rng.choice(("F32", "I8", "U8", "F16", "I32"))
    file.add(name, kind, shape, bytes(rng.randrange(1, 100) for _ in range(count)) * BYTES[kind])


def metadata(rng: random.Random, file: Editable) -> None:
    value = rng.choice(JSON)
    key = rng.choice(("config", "_quantization_metadata", "format", "quantization_profile", "weight_qmax", "ss_x"))
    texts = (json.dumps(value), "{", "\x00", "[" * 5000, "{" * 5000, "NaN", "1" * 5000, '{"a":' * 3000)
    file.metadata = rng.choice(
        (value, {key: value}, *({**(file.metadata or {}), key: text} for text in texts), {"k": "\ud800"})
    )


def header_marks(rng: random.Random, file: Editable) -> None:
    layer = file.entries[any_one(rng, file)][0].rpartition(".")[0]
    entry = {
        rng.choice(MARKS): rng.choice(JSON),
        "format": rng.choice(("int8_tensorwise", "nvfp4", "float8_e4m3fn", "x")),
    }
    table = rng.choice(
        ({"layers": {layer: entry}}, {"layers": {layer: rng.choice(JSON)}}, {"layers": rng.choice(JSON)})
    )
    file.metadata = {**(file.metadata or {}), "_quantization_metadata": json.dumps(table)}


def marker(rng: random.Random, file: Editable) -> None:
    layers = [name.rpartition(".")[0] for name, _ in file.entries if name.endswith("weight_scale")]
    entry = {"format": rng.choice(("int8_tensorwise", "nvfp4", "mxfp8", "float8_e4m3fn", "", "x", None, 3))}
    entry[rng.choice(MARKS)] = rng.choice(JSON)
    content = rng.choice((json.dumps(entry).encode(), b"", b"[]", b"\xff\xfe", b"{" * 4000, b"null", bytes(5000)))
    taken = {name for name, _ in file.entries}
    name = f"{rng.choice(layers or ['a'])}.comfy_quant"
    if name not in taken:
        file.add(name, "U8", [len(content)], content)
    else:
        edit(rng, file, shape=None)


DAMAGES: dict[str, Damage] = {
    "a name": renamed,
    "all names": all_renamed,
    "two names swapped": swapped_names,
    "a type": retyped,
    "a type of the same width": same_width_type,
    "a shape": reshaped,
    "a place": moved,
    "no table": no_table,
    "a name twice": doubled,
    "tensors lost": lost,
    "a foreign tensor": foreign,
    "metadata": metadata,
    "header marks": header_marks,
    "a marker": marker,
}
