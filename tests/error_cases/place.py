"""Where the files of one case lie: a folder of its own in each of ComfyUI's folders."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from x2v_quant.demo import assets

ERRORS = "errors"
SAFETENSORS = ".safetensors"


@dataclass(frozen=True)
class Place:
    """`base`: the server's folder; `name`: the case's, a word."""

    base: Path
    name: str

    @property
    def models(self) -> Path:
        return self.base / "models"

    def named(self, file: str) -> str:
        """As ComfyUI's lists have a file of this place."""
        return "/".join([ERRORS, self.name, file])

    def put(self, kind: str, file: str, content) -> str:
        """Writes a file into models/`kind` and returns its name in ComfyUI's list. content: bytes, a text, a table of
        tensors, (tensors, metadata), any value for JSON or torch.save by the name's ending, or a function that gets
        this place and returns one of these; a Path is linked to."""
        path = self.models / kind / ERRORS / self.name / file
        self.write(path, content)
        return self.named(file)

    def input(self, file: str, content) -> str:
        """The same in ComfyUI's input folder; `file` as LoadLatent and others call it."""
        self.write(self.base / "input" / file, content)
        return file

    def write(self, path: Path, content) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = content(self) if callable(content) else content
        metadata = None
        if isinstance(content, tuple):
            content, metadata = content
        if isinstance(content, Path):
            os.symlink(content, path, target_is_directory=True)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif path.suffix in (SAFETENSORS, ".latent"):
            save_file({key: tensor.contiguous() for key, tensor in content.items()}, path, metadata)
        elif path.suffix == ".json":
            path.write_text(json.dumps(content), encoding="utf-8")
        else:
            torch.save(content, path)


def demo(field: str, change=lambda tensors: None, kind: str = "int8", metadata: dict[str, str] | None = None):
    """The demo's model as a content for `Place.put`. field: of assets.Names; change: edits its tensors; metadata: in
    place of its own."""

    def read(place: Place):
        path = place.models / assets.FOLDERS[field] / getattr(assets.names(kind), field)
        if path.suffix == SAFETENSORS:
            with safe_open(path, framework="pt") as stored:
                tensors = {key: stored.get_tensor(key).clone() for key in stored.keys()}  # noqa: SIM118 - no mapping
                own = stored.metadata()
        else:
            tensors, own = torch.load(path, weights_only=True), None
        change(tensors)
        return tensors, metadata or own

    return read


def without(*keys: str):
    """A `change` that takes keys away."""

    def change(tensors: dict[str, torch.Tensor]) -> None:
        for key in keys:
            del tensors[key]

    return change
