"""Where the pack makes the words of its errors: every `raise`, and every sentence that a raise elsewhere passes on."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from x2v_quant.core.on_path import PACK

from .unreachable import COMMAND_LINE, TESTED_ELSEWHERE

# calls that make a problem of words, which is raised later or told by another one's "more like this"
MAKERS = {"Problem", "_blame", "_problem", "Marker"}
# functions whose words go into the messages that others raise
WORDS = {
    "calibration/files.py": {"_cause"},
    "checkpoints/foreign.py": {
        "scale_looks_like",
        "codes_look_like",
        "_gptq_or_awq",
        "_grouped",
        "_int4",
        "_one_scale_for",
    },
    "checkpoints/joining.py": {"_twice", "_unfit"},
    "checkpoints/other_files.py": {"_packed"},
    "checkpoints/tables.py": {"_unlike_others"},
    "layer_rules/format_names.py": {"format_named"},
    "layer_rules/shapes.py": {"why_not"},
    "lightx2v_config/diffusion.py": {"_not_found"},
    "linear/quant_linear.py": {"_load_from_state_dict"},
    "loras/translate.py": {"_nothing"},
    "nodes/experts.py": {"expert_names"},
    "writing/errors.py": {"words"},
    "writing/names.py": {"_cause"},
}
# tables of words, by the name of the module's constant
TABLES = {
    "checkpoints/foreign.py": {"MEANINGS"},
    "checkpoints/other_files.py": {
        *("LFS", "GGUF", "EMPTY", "WEB_PAGE", "TEXT", "CUT", "SCRIPT", "AS_TORCH", "AS_SAFETENSORS")
    },
    "runtime/sampling/nan_words.py": {"WHERE"},
}
# files whose errors are caught, and only their words go on
CAUGHT = {"loras/shapes.py"}
LEAST = 10  # letters that a sentence has of its own, or any message would have them


@dataclass(frozen=True)
class RaiseSite:
    """`path`: in the pack; `first`, `last`: its lines; `words`: the parts of what it says that are always the same,
    none for a raise, which a traceback tells."""

    path: str
    first: int
    last: int
    function: str
    text: str
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}, {self.function}: {self.text}"


def raise_sites_of_nodes() -> list[RaiseSite]:
    """Of every module but those that only the command line runs."""
    return [site for path, file in _files() if not path.startswith(COMMAND_LINE) for site in raise_sites_in(path, file)]


def raise_sites_of_commands() -> list[RaiseSite]:
    """Of the modules that only the command line runs, but for those of TESTED_ELSEWHERE."""
    paths = [path for path, _ in _files() if path.startswith(COMMAND_LINE)]
    return [
        site for path in paths if not path.startswith(TESTED_ELSEWHERE) for site in raise_sites_in(path, PACK / path)
    ]


def is_covered(site: RaiseSite, told: Iterable) -> bool:
    """Whether one of the refusals comes from this site. told: what was said, each with its `message` and the `lines`
    (path, line) of its tracebacks."""
    if site.words:
        return any(said(site.words, one.message) for one in told)
    return any(path == site.path and site.first <= line <= site.last for one in told for path, line in one.lines)


def said(words: Iterable[str], message: str) -> bool:
    """Whether the message has all of them, in this order."""
    place = 0
    for part in words:
        place = message.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return True


def _files() -> Iterator[tuple[str, Path]]:
    for top in sorted(PACK.iterdir()):
        if top.name != "tests" and not top.name.startswith("."):
            files = [top] if top.suffix == ".py" else sorted(top.rglob("*.py"))
            yield from ((file.relative_to(PACK).as_posix(), file) for file in files)


def raise_sites_in(path: str, file: Path) -> Iterator[RaiseSite]:
    """Of one file, which the pack has at `path`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for name, function in _functions(tree):
        body = list(_own(function))
        raises = [node for node in body if isinstance(node, ast.Raise) and node.exc is not None]
        for node in raises:
            words = tuple(part for _, own in _sentences(None, list(ast.walk(node))) for part in own)
            told = words if path in CAUGHT else ()
            yield RaiseSite(path, node.lineno, node.end_lineno, name, ast.unparse(node.exc), told)
        told = {id(inner) for node in raises for inner in ast.walk(node)}
        if name.rpartition(".")[2] in WORDS.get(path, ()) or any(_makes(node) for node in body if id(node) not in told):
            yield from (
                RaiseSite(path, node.lineno, node.end_lineno, name, ast.unparse(node), words)
                for node, words in _sentences(function, body)
                if id(node) not in told
            )
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in TABLES.get(path, ()):
            name = ast.unparse(node.targets[0])
            for inner, words in _sentences(None, list(ast.walk(node))):
                yield RaiseSite(path, inner.lineno, inner.end_lineno, name, ast.unparse(inner), words)


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{prefix}{node.name}"
            if not isinstance(node, ast.ClassDef):
                yield name, node
            yield from _functions(node, f"{name}.")
        else:
            yield from _functions(node, prefix)


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """What is in a function and in none that it holds."""
    for node in ast.iter_child_nodes(function):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _own(node)


def _makes(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return called in MAKERS


def _sentences(function: ast.AST | None, body: list[ast.AST]) -> Iterator[tuple[ast.AST, tuple[str, ...]]]:
    """(literal, its own words) of texts with two words or more; a docstring is none."""
    docstring = function.body[0].value if function is not None and ast.get_docstring(function) else None
    inside = {
        id(part) for node in body if isinstance(node, ast.JoinedStr) for part in ast.walk(node) if part is not node
    }
    for node in body:
        if node is docstring or id(node) in inside:
            continue
        words = _words(node)
        if words is not None:
            yield node, words


def _words(node: ast.AST) -> tuple[str, ...] | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        parts = [node]
    elif isinstance(node, ast.JoinedStr):
        parts = node.values
    else:
        return None
    own = [part.value if isinstance(part, ast.Constant) else None for part in parts]
    letters = "".join(part for part in own if part is not None).strip()
    if len(letters) < LEAST or " " not in letters:
        return None
    # what str.format fills in is anything
    return tuple(filter(None, (word for part in own if part for word in re.split(r"{[^}]*}", part))))
