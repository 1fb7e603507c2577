"""Imports run one way: from the top of CONTRIBUTING's map to its end, and never in a circle."""

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

from x2v_quant.core.on_path import PACK

# the last row of the map that imports anything
LAST = "common"
# what is built on the pack, and nothing in it on them
OUTSIDE = ("benchmarks", "tests", "dev.py")


def order() -> list[str]:
    """The rooms of the map, top to bottom and left to right."""
    text = (PACK / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+`) \|", text.partition("## A map of the house")[2], re.MULTILINE)
    rooms = [room.removesuffix(".py").rstrip("/") for row in rows for room in re.findall(r"`([^`]+)`", row)]
    return rooms[: rooms.index(LAST) + 1]


def modules() -> dict[tuple[str, ...], Path]:
    """Every module of the pack, by the parts of its name."""
    found = {}
    for file in PACK.rglob("*.py"):
        path = file.relative_to(PACK)
        if not path.parts[0].startswith(".") and path.parts[0] not in OUTSIDE:
            found[path.parts[:-1] if path.name == "__init__.py" else path.with_suffix("").parts] = file
    return found


def imported(module: tuple[str, ...], file: Path, known: dict[tuple[str, ...], Path]) -> Iterator[tuple[str, ...]]:
    """What a module imports of the pack, in functions too, but not what only a type checker reads."""
    home = module if file.name == "__init__.py" else module[:-1]
    for node in statements(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            target = (*home[: len(home) - node.level + 1], *(node.module or "").split("."))
            target = tuple(part for part in target if part)
            yield from ((*target, name.name) if (*target, name.name) in known else target for name in node.names)


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from statements(node)


def graph() -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    known = modules()
    return {module: set(imported(module, file, known)) for module, file in known.items()}


def room(module: tuple[str, ...]) -> str:
    return module[0] if module else "__init__"


def test_the_map_has_every_room():
    assert sorted(order()) == sorted({room(module) for module in modules()})


def test_no_arrow_runs_up():
    ranks = {name: rank for rank, name in enumerate(order())}
    up = {
        f"{'.'.join(module)} imports {'.'.join(target)}"
        for module, targets in graph().items()
        for target in targets
        if ranks[room(module)] > ranks[room(target)]
    }
    assert not up


def test_no_module_imports_itself_in_the_end():
    """A package's own __init__ is what its modules are imported through: they must not import from it."""
    arrows = {module: targets - {module} for module, targets in graph().items()}
    graphlib.TopologicalSorter(arrows).prepare()


def test_what_counts_as_an_import(tmp_path):
    file = tmp_path / "module.py"
    file.write_text(
        "from ..kernels import choose\nfrom . import registry\nif TYPE_CHECKING:\n    from ..nodes import save\n"
        "def f():\n    from ..formats.layout import register\n"
    )
    known = {("loading", "registry"): file, ("kernels",): file, ("formats", "layout"): file}
    assert set(imported(("loading", "module"), file, known)) == {
        ("kernels",),
        ("loading", "registry"),
        ("formats", "layout"),
    }
