"""Damages of a folder: its index, its shards and its blocks."""

import json
import random
from collections.abc import Callable

Files = dict[str, bytes]
INDEX = "model.safetensors.index.json"
JSON = ([], {}, 0, None, "x", {"weight_map": []}, {"weight_map": {}}, {"weight_map": {"a": 3}}, {"weight_map": None})


def file_lost(rng: random.Random, files: Files) -> Files:
    gone = rng.choice(sorted(files))
    return {name: content for name, content in files.items() if name != gone}


def file_cut(rng: random.Random, files: Files) -> Files:
    name = rng.choice(sorted(files))
    return {**files, name: files[name][: rng.choice((0, 1, 100, len(files[name]) - 1))]}


def file_replaced(rng: random.Random, files: Files) -> Files:
    name = rng.choice(sorted(files))
    contents = (b"version https://git-lfs.github.com/spec/v1\n", b"<!DOCTYPE html>" * 9, b"", b"\0" * 99)
    return {**files, name: rng.choice((*contents, files[rng.choice(sorted(files))]))}


def file_twice(rng: random.Random, files: Files) -> Files:
    name = rng.choice(sorted(files))
    copies = ("block_2.safetensors", "block_01.safetensors", "copy.safetensors", "model-00003-of-00002.safetensors")
    copies += ("block_999999999999.safetensors", "b.safetensors.index.json", "non_block.sft", "a\nb.safetensors")
    return {**files, rng.choice(copies): files[name]}


def files_swapped(rng: random.Random, files: Files) -> Files:
    one, other = rng.sample(sorted(files), 2)
    return {**files, one: files[other], other: files[one]}


def index(rng: random.Random, files: Files) -> Files:
    if INDEX not in files:
        return file_lost(rng, files)
    table = json.loads(files[INDEX])
    named = table["weight_map"]
    key = rng.choice(sorted(named))
    value = (
        "../secret.safetensors",
        "/etc/passwd",
        "gone.safetensors",
        "",
        ".",
        3,
        None,
        [],
        "a\0b",
        "x" * 5000,
        "C:x",
    )
    changed = {
        **table,
        "weight_map": rng.choice(
            ({**named, key: rng.choice(value)}, {**named, f"{key}.x": named[key]}, {**named, "a\nb": named[key]})
        ),
    }
    texts = (json.dumps(changed).encode(), json.dumps(rng.choice(JSON)).encode(), b"{", b"[" * 100_000, b"\xff\xfe")
    return {**files, INDEX: rng.choice((texts[0], *texts))}


DAMAGES: dict[str, Callable[[random.Random, Files], Files]] = {
    "a file of a folder lost": file_lost,
    "a file of a folder cut off": file_cut,
    "a file of a folder replaced": file_replaced,
    "a file of a folder twice": file_twice,
    "two files of a folder swapped": files_swapped,
    "the index": index,
}
