"""Which files of the pack its nodes import, by their import statements."""

import ast
from collections.abc import Iterator
from pathlib import Path

from x2v_quant.core.on_path import PACK


def modules_of_nodes() -> set[str]:
    """Their paths in the pack, with "/" between the folders."""
    found: set[Path] = set()
    left = [PACK / "__init__.py", PACK / "nodes" / "__init__.py"]
    while left:
        file = left.pop()
        if file not in found:
            found.add(file)
            left += _imported(file)
    return {file.relative_to(PACK).as_posix() for file in found}


def _imported(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            home = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for place in (home, *(home / name.name for name in node.names)):
                yield from (path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file())
