"""The pack as the registry publishes it, and as the Manager installs it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from x2v_quant.headless.server import PACK_NAME

ROOT = Path(__file__).parents[1]


def published_names(repository: Path) -> list[str]:
    """Of the files that would be published: what git does not ignore, less .comfyignore, which has git's patterns.

    repository: an empty folder for a repository of its own, so that files not yet committed count and a tree without
    .git will do. Skips the test where there is no git."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    subprocess.run(["git", "init", "--quiet", "--bare", repository], check=True)
    listing = subprocess.run(
        [
            *("git", f"--git-dir={repository}", f"--work-tree={ROOT}", "-c", "core.quotePath=false", "ls-files"),
            *("--others", "--exclude-per-directory=.gitignore", f"--exclude-from={ROOT / '.comfyignore'}"),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    return listing.stdout.splitlines()


def install(names: list[str], base: Path) -> None:
    """Copies the files into custom_nodes of a ComfyUI's base folder."""
    for name in names:
        target = base / "custom_nodes" / PACK_NAME / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
