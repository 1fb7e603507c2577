"""PyTorch files that are damaged, or hold more or less than tensors."""

import io
import os
import zipfile

import torch
from safetensors.torch import save

from .case import file
from .wan import LAYER, wan

FILE = "model.pth"


class Runs:
    def __reduce__(self):
        return os.getcwd, ()


def saved(value) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def archive(*names: str, content: bytes = b"hello", compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file that is not PyTorch's."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as made:
        for name in names or ("notes.txt",):
            made.writestr(name, content)
    return stream.getvalue()


def short_record() -> bytes:
    """A model of which one record of the archive has lost its second half."""
    stream = io.BytesIO()
    whole = io.BytesIO(saved({"long.bias": torch.ones(999), **wan()}))
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(stream, "w") as made:
        for entry in old.infolist():
            content = old.read(entry)
            made.writestr(entry, content[:1998] if len(content) == 3996 else content)
    return stream.getvalue()


def newer() -> bytes:
    """A zip file that says to take a later version of its format than there is."""
    content = bytearray(archive())
    content[content.index(b"PK\x01\x02") + 6] = 255
    return bytes(content)


CASES = {
    "code": file(
        {**wan(), "x": Runs()},
        f"{FILE} contains pickled Python objects (",
        ".getcwd), which can run code and are not read. Get the model as .safetensors, or have it saved again with its",
        name=FILE,
    ),
    "cut": file(saved(wan())[:-100], f"{FILE} is cut off or is no PyTorch file. Download it again.", name=FILE),
    "another archive": file(
        archive(), f"{FILE} is a packed file (ZIP). Unpack it, and pick the file that was in it.", name=FILE
    ),
    "program": file(
        archive("a/data.pkl", "a/constants.pkl"),
        f"{FILE} is a PyTorch program (TorchScript), which is not read. Get the model as .safetensors.",
        name=FILE,
    ),
    "safetensors": file(
        save({"a": torch.zeros(1)}),
        f"{FILE} is a safetensors file with the ending of a PyTorch file. Rename it to .safetensors.",
        name=FILE,
    ),
    "an archive of tomorrow": file(newer(), f"{FILE} is damaged. Download it again.", name=FILE),
    "inflates": file(
        archive("a/data.pkl", content=bytes(10_000_000), compression=zipfile.ZIP_DEFLATED),
        f"{FILE} is 9.8",
        " kB large and says that it contains 10.0 MB, which PyTorch writes of no model. Get the model as",
        name=FILE,
    ),
    "names of an old file": file(
        b"\x80\x02X" + (17_000_000).to_bytes(4, "little") + bytes(17_000_000),
        f"{FILE} has 17.0 MB of names and other things beside its tensors, and a model has at most 16.0 MB. Get the",
        name=FILE,
    ),
    "names": file(
        archive("a/data.pkl", content=bytes(16_000_001)),
        f"{FILE} has 16.0 MB of names and other things beside its tensors, and a model has at most 16.0 MB. Get the",
        name=FILE,
    ),
    "a short record": file(
        short_record(), f"{FILE}: long.bias is cut off inside the file. Download it again.", name=FILE
    ),
    "list": file([1, 2], f"{FILE} has no table of named tensors. Pick the file of a model.", name=FILE),
    "several models": file(
        {"generator": wan(), "critic": wan()},
        f"{FILE} has several tables of tensors: generator (Wan 2.1 t2v), critic (Wan 2.1 t2v). Save the one that you",
        name=FILE,
    ),
    "one name": file(
        {**{f"net.{key}": tensor for key, tensor in wan().items()}, f"module.net.{LAYER}.weight": torch.ones(1)},
        f"{FILE}: module.net.{LAYER}.weight is the same tensor as net.{LAYER}.weight. The file mixes two ways",
        name=FILE,
    ),
    "no data": file(
        {**wan(), "blocks.1.self_attn.v.weight": torch.zeros(1, dtype=torch.int8).expand(8, 8)},
        f"{FILE}: blocks.1.self_attn.v.weight is sparse, or has no data of its own for every value. Get the model as",
        name=FILE,
    ),
    "quantized by PyTorch": file(
        {**wan(), f"{LAYER}.qzeros": torch.quantize_per_tensor(torch.ones(4, 8), 0.1, 3, torch.quint8)},
        f"{FILE}: {LAYER}.qzeros is quantized by PyTorch itself (quint8), which is not read. Get the model as",
        name=FILE,
    ),
}
