"""PyTorch files that are damaged, or hold more or less than tensors."""

import io
import os
import zipfile

import torch

from .case import file
from .wan import wan

FILE = "model.pth"


class Runs:
    def __reduce__(self):
        return os.getcwd, ()


def saved(value) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def archive() -> bytes:
    """A zip file that is not PyTorch's."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        made.writestr("notes.txt", "hello")
    return stream.getvalue()


CASES = {
    "code": file(
        {**wan(), "x": Runs()},
        f"{FILE} holds pickled Python objects, which can run code and are not read. Get the model as .safetensors.",
        name=FILE,
    ),
    "cut": file(saved(wan())[:-100], f"{FILE} is cut off or is no PyTorch file. Download it again.", name=FILE),
    "another archive": file(archive(), f"{FILE} is damaged. Download it again.", name=FILE),
    "list": file([1, 2], f"{FILE} holds no table of named tensors. Pick the file of a model.", name=FILE),
    "no data": file(
        {**wan(), "blocks.1.self_attn.v.weight": torch.zeros(1, dtype=torch.int8).expand(8, 8)},
        f"{FILE}: blocks.1.self_attn.v.weight is sparse, or has no data of its own for every value. Get the model as",
        name=FILE,
    ),
}
