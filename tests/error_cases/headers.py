"""Files that are no safetensors, or none that is whole."""

import json

import torch
from safetensors.torch import save

from .case import file
from .torch_files import saved

SOUND = save({"a.weight": torch.zeros(4, 3, dtype=torch.int8), "a.weight_scale": torch.ones(4, 1)}, {"k": "v"})
FILE = "model.safetensors"
DAMAGED = "The file is damaged: download it again."


def header(table, data: bytes = b"") -> bytes:
    text = json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(begin: int, end: int, dtype: str = "I8", shape=(4,)) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


CASES = {
    "empty": file(b"", f"{FILE} is empty. Download it again."),
    "web page": file(
        b"<!DOCTYPE html><html>Not found</html>" * 5,
        f"{FILE} is a web page, not a model. Download the file itself; sign in first where the site asks for it.",
    ),
    "text": file(b'{"error": "no such file"}' * 5, f"{FILE} is a text file, not a model. Download it"),
    "git lfs": file(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
        f"{FILE} is a Git LFS pointer, not the model. Download the file itself.",
    ),
    "torch": file(saved({}), f"{FILE} is a PyTorch file with a safetensors ending. Rename it to .pth."),
    "torch, cut": file(
        saved({})[:-50], f"{FILE} is cut off: it begins like a PyTorch file or a packed file (ZIP). Download it again."
    ),
    "packed": file(
        b"7z\xbc\xaf'\x1c" + bytes(99),
        f"{FILE} is a packed file (7z). Unpack it, and pick the file that was in it.",
    ),
    "gguf": file(
        b"GGUF" + bytes(100), f"{FILE} is a GGUF file. Rename it to .gguf and load it with the ComfyUI-GGUF pack."
    ),
    "something": file(b"\xff" * 100, f"{FILE} is not a safetensors file. Download it again."),
    "cut in the header": file(SOUND[:40], f"{FILE} is cut off inside its header. Download it again."),
    "cut": file(SOUND[:-1], f"{FILE} is cut off: 27 of 28 bytes of weights are there. Download it again."),
    "longer": file(SOUND + b"x", f"{FILE} has 1 bytes after its last tensor. {DAMAGED}"),
    "no json": file(b"\x02\0\0\0\0\0\0\0{x", f"{FILE} has a header that is no JSON. {DAMAGED}"),
    "not a number": file(
        header({"__metadata__": {"a": float("nan")}}), f"{FILE} has a header that is no JSON. {DAMAGED}"
    ),
    "no table": file(header([]), f"{FILE} has a header that is no table of tensors. {DAMAGED}"),
    "metadata": file(header({"__metadata__": {"a": 1}}), f"{FILE}: __metadata__ is no table of texts. {DAMAGED}"),
    "half a character": file(
        header({"__metadata__": {"a": "\ud800"}}), f"{FILE}: __metadata__ has half a character. {DAMAGED}"
    ),
    "a long name": file(
        header({"x" * 1025: tensor(0, 4)}, bytes(4)),
        f"{FILE}: {'x' * 40} ... is a name of 1025 characters; that of a tensor has at most 1024. Get the model from",
    ),
    "many": file(
        header({str(number): tensor(0, 0, "U8", [0]) for number in range(200_001)}),
        f"{FILE} has 200001 tensors, and a model has at most 200000. Get the model from its publisher.",
    ),
    "entry": file(header({"a": []}), f"{FILE}: a has no valid dtype, shape and place. {DAMAGED}"),
    "size": file(
        header({"a": tensor(0, 4, "F32", [2])}, bytes(4)),
        f"{FILE}: a is 4 bytes long, which is not F32 [2]. {DAMAGED}",
    ),
    "hole": file(
        header({"a": tensor(2, 6)}, bytes(6)), f"{FILE} has a hole or an overlap at byte 0 of its data. {DAMAGED}"
    ),
    "a type of nobody": file(
        header({"a": tensor(0, 4, "I3")}, bytes(4)),
        f"{FILE}: a is of the type I3, which safetensors ",
        " does not read. Update safetensors, or get the model from its publisher.",
    ),
    "nothing in it": file(save({}), f"{FILE} has no tensors. Pick another file."),
}
