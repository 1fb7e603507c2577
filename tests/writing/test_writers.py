"""Nothing of the pack writes into a file that is there: whoever has it mapped would read other bytes, or die."""

import ast
from pathlib import Path

import pytest

import x2v_quant

PACK = Path(x2v_quant.__file__).parent
# what writes to a path: methods, functions, and modes of open
WRITES = {"write_text", "write_bytes", "save_file", "copyfile", "copy2", "truncate"}
# file -> why it may: the file is its own, in a folder that it has made itself or under the name of a partial one
MAY = {
    "converting/tensor_file.py": "the partial file",
    "converting/writer.py": "in the partial folder",
    "writing/locking.py": "the lock",
    "writing/whole.py": "the partial file",
    "common/ending.py": "os.devnull",
    "headless/base_folder.py": "in the folder of its own server",
    "headless/run.py": "in the folder of its own server",
    "headless/server.py": "the log in the folder of its own server",
    "common/resident_memory.py": "Linux' counters",
}
NOT_INSTALLED = ("tests", "benchmarks", "dev.py", ".")


def writes(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name == "open":
        modes = [
            arg.value for arg in (*node.args, *(word.value for word in node.keywords)) if isinstance(arg, ast.Constant)
        ]
        return any(isinstance(mode, str) and set(mode) & set("wa+") and len(mode) < 4 for mode in modes)
    return name in WRITES


def writers() -> set[str]:
    found = set()
    for file in PACK.rglob("*.py"):
        path = file.relative_to(PACK).as_posix()
        if not path.startswith(NOT_INSTALLED) and any(
            map(writes, ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        ):
            found.add(path)
    return found


def test_everything_else_writes_whole_files():
    assert writers() <= set(MAY)


@pytest.mark.parametrize(
    "code", ["p.open('wb')", "open(p, 'w')", "p.open(mode='r+b')", "save_file(x, p)", "p.write_text(x)"]
)
def test_what_counts_as_writing(code):
    assert any(map(writes, ast.walk(ast.parse(code))))
    assert not any(map(writes, ast.walk(ast.parse("p.open('rb'); open(p); file.write(x)"))))
