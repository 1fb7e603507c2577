"""Files of another kind than their names say: what is said of them leads to one that loads."""

import gzip
import io
import re
import tarfile
import zipfile

import pytest
import torch
from safetensors.torch import save

from x2v_quant.checkpoints import CheckpointError, open_checkpoint
from x2v_quant.loras import LoRAError, read_lora

PAGE = "<!DOCTYPE html><html><title>登录</title></html>" * 30


def torch_bytes(tensors, zipped):
    stream = io.BytesIO()
    torch.save(tensors, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def zip_bytes(**contents):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tar_bytes(content):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("model.safetensors")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def script_bytes():
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(4, 4)), stream)
    return stream.getvalue()


KINDS = {
    "torch": (lambda tensors: torch_bytes(tensors, True), ".safetensors", "Rename it to .pth."),
    "torch of before 1.6": (lambda tensors: torch_bytes(tensors, False), ".sft", "Rename it to .pth."),
    "safetensors": (save, ".pth", "Rename it to .safetensors."),
    "safetensors as ckpt": (save, ".ckpt", "Rename it to .safetensors."),
    "gguf": (lambda _: b"GGUF" + bytes(99), ".pth", "is a GGUF file."),
    "git lfs": (lambda _: b"version https://git-lfs.github.com/spec/v1\n", ".pth", "Download the file itself."),
    "web page": (lambda _: PAGE.encode(), ".safetensors", "Download the file itself; sign in first"),
    "web page as torch": (lambda _: PAGE.encode(), ".pth", "Download the file itself; sign in first"),
    "text with a mark": (lambda _: '{"error": "à"}'.encode("utf-8-sig"), ".bin", "is a text file, not a "),
    "nothing": (lambda _: b"", ".pth", "is empty."),
    "zip": (lambda tensors: zip_bytes(model=save(tensors)), ".safetensors", "is a packed file (ZIP). Unpack it"),
    "zip as torch": (lambda tensors: zip_bytes(model=save(tensors)), ".pth", "is a packed file (ZIP). Unpack it"),
    "gzip": (lambda tensors: gzip.compress(save(tensors)), ".safetensors", "is a packed file (gzip). Unpack it"),
    "tar": (lambda tensors: tar_bytes(save(tensors)), ".pth", "is a packed file (TAR). Unpack it"),
    "script": (lambda _: script_bytes(), ".pth", "(TorchScript), which is not read. Get the "),
    "script as safetensors": (lambda _: script_bytes(), ".safetensors", "(TorchScript), which is not read."),
    "torch, cut": (
        lambda tensors: torch_bytes(tensors, True)[:-99],
        ".safetensors",
        "is cut off: it begins like a PyTorch file",
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
RENAMED = re.compile(r"Rename it to (\.\w+)\.")


@every_kind
def test_a_model(kind, wan, tmp_path):
    said(open_checkpoint, CheckpointError, wan(), kind, tmp_path)


@every_kind
def test_a_lora(kind, tmp_path):
    lora = {"blocks.0.ffn.0.lora_A.weight": torch.ones(4, 8), "blocks.0.ffn.0.lora_B.weight": torch.ones(8, 4)}
    said(read_lora, LoRAError, lora, kind, tmp_path)


def said(read, error, tensors, kind, folder):
    make, ending, words = KINDS[kind]
    path = folder / f"file{ending}"
    path.write_bytes(make(tensors))
    with pytest.raises(error) as told:
        read(path)
    assert words in str(told.value)
    renamed = RENAMED.search(str(told.value))
    if renamed:
        read(path.rename(path.with_suffix(renamed[1])))
