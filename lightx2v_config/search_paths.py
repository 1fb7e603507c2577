"""The folders in which files of a configuration are searched: the model folder, then ComfyUI's. Never others."""

import glob
import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..common import limits
from .config import Config, ConfigError

# LightX2V's sub-folders of a model folder, in its own order
DISTILLED = ("distill_int8", "distill_fp8", "distill_models")
ORDINARY = ("int8", "fp8", "original")

# path components that would lead out of the folder: "..", "/", and drives of Windows
LEADS_OUT = re.compile(r"\.\.|/+|.*:.*")


@dataclass(frozen=True)
class SearchPaths:
    """`folder`: the model folder, None without one. `comfyui`: kind of model ("diffusion_models", "text_encoders",
    "clip_vision") -> ComfyUI's folders of it."""

    folder: Path | None
    comfyui: dict[str, list[Path]] = field(default_factory=dict)

    def roots(self, kind: str) -> list[Path]:
        return [*([self.folder] if self.folder else []), *self.comfyui.get(kind, [])]

    def words(self, kind: str) -> str:
        return " and ".join([*([f"{self.folder.name}/"] if self.folder else []), f"ComfyUI's {kind} folder"])

    def search(self, subfolders: tuple[str, ...]) -> list[Path]:
        """These sub-folders of the model folder in order, then the folder itself; none without a model folder."""
        return [self.folder / name for name in subfolders] + [self.folder] if self.folder else []

    def named(self, config: Config, key: str, kind: str) -> Path | None:
        """The file or folder that `key` names; None if the key is missing. The path is usually one of another machine,
        so the longest end of it that exists below a root is taken. Raises ConfigError if nothing is found."""
        value = config.path(key)
        if value is None:
            return None
        parts = [part for part in PurePosixPath(value.replace("\\", "/")).parts if not LEADS_OUT.fullmatch(part)]
        if not parts:
            raise config.error(key, f"is {value!r}, which names no file", "Correct it or leave it out.")
        if len(parts) > limits.PATH_PARTS:
            cause = f"is a path of {len(parts)} parts, and no more than {limits.PATH_PARTS} are looked for"
            raise config.error(key, cause, "Write the last few of them.")
        for start in range(len(parts)):
            for root in self.roots(kind):
                candidate = root.joinpath(*parts[start:])
                if os.path.exists(candidate) and candidate != root:  # pathlib raises for a name that is too long
                    return candidate
        return self._only_one(config, key, parts[-1], kind)

    def _only_one(self, config: Config, key: str, name: str, kind: str) -> Path:
        """The only file of this name anywhere below the first root that has any."""
        where = self.words(kind)
        for root in self.roots(kind):
            found = [path for path in root.rglob("*") if path.match(glob.escape(name))]
            if len(found) > 1:
                cause = f"names {name}, of which there are {len(found)} in {where}"
                raise config.error(key, cause, "Write more of its path.")
            if found:
                return found[0]
        raise config.error(key, f"names {name}, which is not in {where}", "Put it there, or remove the key.")


def missing(config: Config, what: str, where: str, remedy: str) -> ConfigError:
    return ConfigError(f"{config.name}: no {what} in {where}. {remedy}")
