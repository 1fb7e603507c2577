"""Damages of a PyTorch file: its zip archive, its pickle, what stands in place of tensors."""

import io
import random
import zipfile
from collections import OrderedDict
from collections.abc import Callable

import torch

Table = dict


def _loaded(file: bytes) -> Table:
    return dict(torch.load(io.BytesIO(file), weights_only=True))


def _saved(data: object) -> bytes:
    stream = io.BytesIO()
    torch.save(data, stream)
    return stream.getvalue()


def cut(rng: random.Random, file: bytes) -> bytes:
    return file[: rng.choice((0, 1, 4, 64, len(file) - 1, rng.randrange(len(file))))]


def longer(rng: random.Random, file: bytes) -> bytes:
    return file + bytes(rng.randrange(1, 100_000))


def _with_pickle(file: bytes, change: Callable[[bytes], bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as old, zipfile.ZipFile(stream, "w") as new:
        for item in old.infolist():
            content = old.read(item)
            new.writestr(item, change(content) if item.filename.endswith("data.pkl") else content)
    return stream.getvalue()


def pickle_bytes(rng: random.Random, file: bytes) -> bytes:
    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        for _ in range(rng.choice((1, 1, 3))):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)

    return _with_pickle(file, change)


def pickle_cut(rng: random.Random, file: bytes) -> bytes:
    return _with_pickle(file, lambda content: content[: rng.randrange(len(content))])


def storage_lost(rng: random.Random, file: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as old, zipfile.ZipFile(stream, "w") as new:
        items = old.infolist()
        storages = [item for item in items if "/data/" in item.filename]
        gone = rng.choice(storages).filename
        short = rng.random() < 0.5
        for item in items:
            content = old.read(item)
            if item.filename != gone:
                new.writestr(item, content)
            elif short:
                new.writestr(item, content[: len(content) // 2])
    return stream.getvalue()


def not_a_tensor(rng: random.Random, file: bytes) -> bytes:
    data = _loaded(file)
    key = rng.choice(list(data))
    data[key] = rng.choice(
        (None, 3, 1.5, "text", [1, 2], {}, {"a": data[key]}, [data[key]], OrderedDict(), (data[key],), True, b"\0" * 9)
    )
    return _saved(data)


def keys(rng: random.Random, file: bytes) -> bytes:
    data = _loaded(file)
    key = rng.choice(list(data))
    data[
        rng.choice((0, 1.5, None, b"weight", ("a", 1), "a\nproblem: none", "", "\u202ea", key.upper(), f"{key}.x"))
    ] = data.pop(key)
    return _saved(data)


def lost(rng: random.Random, file: bytes) -> bytes:
    data = _loaded(file)
    for _ in range(rng.choice((1, 1, 3, len(data) // 2))):
        data.pop(rng.choice(list(data)))
    return _saved(data)


def shapes(rng: random.Random, file: bytes) -> bytes:
    data = _loaded(file)
    matrices = [key for key, held in data.items() if held.ndim == 2 and held.shape[0] != held.shape[1]]
    key = rng.choice(matrices)
    held = data[key]
    data[key] = rng.choice(
        (
            held.t().contiguous(),
            held[:-1].clone(),
            held.reshape(-1),
            held[None],
            held[:0],
            held[:1].expand_as(held),
            held.float().to_sparse(),
            held.to("meta"),
        )
    )
    return _saved(data)


def numbers(rng: random.Random, file: bytes) -> bytes:
    data = _loaded(file)
    key = rng.choice([key for key, held in data.items() if held.is_floating_point() and held.numel() < 20_000])
    flat = data[key].clone().reshape(-1)
    flat[rng.randrange(len(flat))] = rng.choice((float("nan"), float("inf")))
    data[key] = flat.reshape(data[key].shape)
    return _saved(data)


def whole(rng: random.Random, file: bytes) -> bytes:
    data = _loaded(file)
    return _saved(
        rng.choice(([], {}, 3, None, "x", list(data.values()), [data], {"a": 1}, {"state_dict": 3}, {"state_dict": {}}))
    )


DAMAGES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "a .pth cut off": cut,
    "a .pth longer": longer,
    "bytes of the pickle": pickle_bytes,
    "the pickle cut off": pickle_cut,
    "a storage lost": storage_lost,
    "no tensor": not_a_tensor,
    "keys of a .pth": keys,
    "tensors of a .pth lost": lost,
    "shapes in a .pth": shapes,
    "values in a .pth that are no numbers": numbers,
    "no table in a .pth": whole,
}
