"""What a file is by its beginning, where that is not what its name says or no model at all."""

import codecs
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .endings import SAFETENSORS, TORCH

LENGTH_BYTES = 8
HEAD = 512  # bytes that are looked at
# how a file begins that others are packed in -> its name; TAR's stands further in
PACKED = {
    b"7z\xbc\xaf'\x1c": "7z",
    b"Rar!\x1a\x07": "RAR",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
TAR, TAR_AT = b"ustar", 257
ZIP = b"PK\x03\x04"
# what PyTorch's archives hold, and what only its programs do
TENSORS, PROGRAM = "data.pkl", "constants.pkl"
PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))

AGAIN = "Download it again."


@dataclass(frozen=True)
class OtherFile:
    """`cause` goes on from the file's name; `remedy` is a sentence of its own."""

    cause: str
    remedy: str


# of any ending
LFS = OtherFile("is a Git LFS pointer, not the model", "Download the file itself.")
GGUF = OtherFile("is a GGUF file", "Rename it to .gguf and load it with the ComfyUI-GGUF pack.")
BEGINNINGS = {b"version https://git-lfs": LFS, b"GGUF": GGUF}
EMPTY = OtherFile("is empty", AGAIN)
WEB_PAGE = OtherFile(
    "is a web page, not a model", "Download the file itself; sign in first where the site asks for it."
)
TEXT = OtherFile("is a text file, not a model", AGAIN)
CUT = OtherFile("is cut off: it begins like a PyTorch file or a packed file (ZIP)", AGAIN)
SCRIPT = OtherFile("is a PyTorch program (TorchScript), which is not read", "Get the model as .safetensors.")
# of the wrong one
AS_TORCH = OtherFile("is a PyTorch file with a safetensors ending", "Rename it to .pth.")
AS_SAFETENSORS = OtherFile("is a safetensors file with the ending of a PyTorch file", "Rename it to .safetensors.")


def other_file(path: Path) -> OtherFile | None:
    """What a file is that cannot be read as its name says; None if its beginning tells nothing."""
    with path.open("rb") as file:
        start = file.read(HEAD)
    if not start:
        return EMPTY
    known = next((other for beginning, other in BEGINNINGS.items() if start.startswith(beginning)), None)
    packing = "TAR" if start.startswith(TAR, TAR_AT) else next((PACKED[b] for b in PACKED if start.startswith(b)), None)
    if known is not None or packing is not None:
        return known or _packed(packing)
    ending = path.suffix.lower()
    if start.startswith(ZIP):
        if not zipfile.is_zipfile(path):
            return CUT if ending in SAFETENSORS else None
        return _archive(path) or (AS_TORCH if ending in SAFETENSORS else None)
    if ending in SAFETENSORS and start.startswith(PICKLES):
        return AS_TORCH
    if ending in TORCH and start.startswith(b"{", LENGTH_BYTES) and not any(start[LENGTH_BYTES - 2 : LENGTH_BYTES]):
        return AS_SAFETENSORS
    return _text(start)


def other_archive(names: list[str]) -> OtherFile | None:
    """What a ZIP file is by the names in it, None if it is PyTorch's archive of tensors."""
    ends = {name.rpartition("/")[2] for name in names}
    if TENSORS not in ends:
        return _packed("ZIP")
    return SCRIPT if PROGRAM in ends else None


def _packed(name: str) -> OtherFile:
    return OtherFile(f"is a packed file ({name})", "Unpack it, and pick the file that was in it.")


def _archive(path: Path) -> OtherFile | None:
    try:
        with zipfile.ZipFile(path) as archive:
            return other_archive(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return None


def _text(start: bytes) -> OtherFile | None:
    try:
        # the last character may be cut off
        text, _ = codecs.utf_8_decode(start.removeprefix(codecs.BOM_UTF8), "strict", len(start) < HEAD)
    except UnicodeDecodeError:
        return None
    if not text.strip() or not all(letter.isprintable() or letter.isspace() for letter in text):
        return None
    return WEB_PAGE if text.lstrip().startswith("<") else TEXT
