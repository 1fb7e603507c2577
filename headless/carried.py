"""Reads the metadata texts of pictures, videos, sounds and latents, in which ComfyUI and others store the workflow."""

import json
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..common import limits
from .workflow_error import WorkflowError

KEYS = ("workflow", "prompt", "comment")  # comment: of videos that other packs write, an object with the first two
MEDIA = {
    "png": "picture",
    "picture": "picture",
    "drawing": "picture",
    "stream": "video or sound",
    "tensors": "file of tensors",
    "shape": "3D model",
}
# (offset in the file, bytes there) -> kind; the first match is used
SIGNS = (
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "picture"),
    (8, b"WEBP", "picture"),
    (0, b"GIF8", "picture"),
    (4, b"ftypavif", "picture"),
    (4, b"ftypheic", "picture"),
    (4, b"ftypmif1", "picture"),
    (0, b"II*\0", "picture"),
    (0, b"MM\0*", "picture"),
    (4, b"ftyp", "stream"),
    (0, b"\x1aE\xdf\xa3", "stream"),
    (0, b"fLaC", "stream"),
    (0, b"OggS", "stream"),
    (0, b"ID3", "stream"),
    (0, b"\xff\xfb", "stream"),
    (8, b"WAVE", "stream"),
    (8, b"AVI ", "stream"),
    (5, b'\0\0\0{"', "tensors"),
    (0, b"<svg", "drawing"),
    (0, b"<?xml", "drawing"),
    (0, b"\xef\xbb\xbf<?xml", "drawing"),
    (0, b"glTF", "shape"),
)
GLTF_JSON = 12  # where the first chunk begins: its size, its kind, its text
HEAD = 16
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"comf")  # the last is ComfyUI's own, of animations
EXIF_IFD = 0x8769
TEXT_CODE = 8  # bytes before an EXIF comment that say how it is written

Texts = dict[str, str]


def medium(path: Path) -> str:
    """The kind of a file by its first bytes, a key of MEDIA; "" for a file that may be JSON."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    return next((kind for offset, sign, kind in SIGNS if head[offset : offset + len(sign)] == sign), "")


def carried(path: Path, kind: str) -> Texts:
    """Key of KEYS -> text, for a file of this kind. Raises WorkflowError for a damaged file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = READERS[kind](path)
    except MemoryError:
        raise
    except Exception as error:  # of three libraries, on what anybody may have written
        raise WorkflowError(f"{path} is a damaged {MEDIA[kind]} ({error}). Take the original.") from error
    return {key: text for key, text in found.items() if key in KEYS}


def _png(path: Path) -> Texts:
    """Texts may also follow the picture data. Only the first text of each key is read and inflated."""
    found: Texts = {}
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            if kind in PNG_TEXTS and size <= limits.JSON_BYTES:
                name, _, rest = file.read(size).partition(b"\0")
                key = name.decode("latin-1").lower()
                if key in KEYS and key not in found:
                    found[key] = _png_text(kind, rest)
                file.seek(4, 1)
            else:
                file.seek(size + 4, 1)
    return found


def _png_text(kind: bytes, content: bytes) -> str:
    if kind == b"zTXt":
        return _inflated(content[1:]).decode("latin-1")
    if kind != b"iTXt":
        return content.decode("latin-1")
    packed, text = content[:1] == b"\1", content[2:].split(b"\0", 2)[-1]
    return (_inflated(text) if packed else text).decode()


def _inflated(content: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    text = unpacking.decompress(content, min(limits.JSON_BYTES, limits.INFLATION * len(content)))
    if unpacking.unconsumed_tail:
        raise ValueError(f"a text in it grows to more than {limits.INFLATION} times its size")
    return text


def _picture(path: Path) -> Texts:
    """EXIF has no free keys: ComfyUI writes "workflow:{...}" into one entry and "prompt:{...}" into another."""
    from PIL import Image

    with Image.open(path) as picture:
        exif = picture.getexif()
        texts = [_exif_text(value) for value in (*exif.values(), *exif.get_ifd(EXIF_IFD).values())]
    found = {}
    for text in filter(None, texts):
        key, colon, rest = text.partition(":")
        if colon and key.lower() in KEYS:
            found[key.lower()] = rest
        elif text.startswith("{"):
            found.setdefault("comment", text)
    return found


def _exif_text(value: Any) -> str:
    if isinstance(value, bytes):
        encoding = "utf-16" if value.startswith(b"UNICODE") else "utf-8"
        value = value[TEXT_CODE:].decode(encoding, errors="replace")
    return value.strip("\0 ") if isinstance(value, str) else ""


def _stream(path: Path) -> Texts:
    import av

    with av.open(str(path)) as container:
        tables = [container.metadata, *(stream.metadata for stream in container.streams)]
    return {key.lower(): text for table in reversed(tables) for key, text in table.items()}


def _tensors(path: Path) -> Texts:
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(min(size, limits.HEADER_BYTES)))
    return dict(_texts(header.get("__metadata__")))


def _drawing(path: Path) -> Texts:
    """ComfyUI writes one object as <metadata><![CDATA[ ... ]]></metadata>."""
    with path.open("rb") as file:
        text = file.read(limits.JSON_BYTES).decode("utf-8-sig", errors="replace")
    inside = text.partition("<metadata")[2].partition("</metadata>")[0]
    return {"comment": inside.partition("<![CDATA[")[2].rpartition("]]>")[0].strip()}


def _shape(path: Path) -> Texts:
    """The extras of a glTF asset, as texts or as objects."""
    with path.open("rb") as file:
        file.seek(GLTF_JSON)
        size, kind = struct.unpack("<I4s", file.read(8))
        content = json.loads(file.read(min(size, limits.JSON_BYTES))) if kind == b"JSON" else {}
    extras = content.get("asset", {}).get("extras") or {}
    return {key: text if isinstance(text, str) else json.dumps(text) for key, text in extras.items()}


def _texts(table: Any) -> Iterator[tuple[str, str]]:
    return ((key, text) for key, text in (table or {}).items() if isinstance(text, str))


READERS: dict[str, Callable[[Path], Texts]] = {
    "png": _png,
    "picture": _picture,
    "drawing": _drawing,
    "stream": _stream,
    "tensors": _tensors,
    "shape": _shape,
}
