"""What people read, as data: plain words, short tooltips with numbers, and help that says when one needs a node."""

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
from write_locales import node_infos, read

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "web" / "docs"
LONGEST_TOOLTIP = 120  # characters
FIRST_HEADING = {"en": "## When do I need this?", "zh": "## 什么时候需要它\uff1f"}
PAGES = {"en": "{}.md", "zh": "{}/zh.md"}
NUMBERS = ("INT", "FLOAT")
# Words of ours, or that somebody whose English is a second language stumbles over. A new one is a row.
STRANGE = (
    r"held",
    r"holds?",
    r"holding",
    r"lanes?",
    r"places",
    r"lies",
    r"anew",
    r"told",
    r"blamed",
    r"proved",
    r"proven",
    r"baked in",
    r"gets? to see",
    r"stands? in",
    r"turns? it round",
    r"the very",
    r"so many",
    r"as much as there is",
    r"left open",
    r"really multipl\w+",
    r"nothing anew",
    r"what is left",
    r"where they can",
    r"its pages are",
    r"follows the flow",
    r"put behind",
    r"better off",
    r"get rid of",
)
WORDS = re.compile(rf"\b({'|'.join(STRANGE)})\b", re.IGNORECASE)
every_language = pytest.mark.parametrize("language", PAGES)


@pytest.fixture(scope="module")
def infos():
    return node_infos()


def tooltips(infos, language):
    """(node, input, its spec, its tooltip) of every input."""
    words = read(language)
    for node, info in infos.items():
        for group in ("required", "optional"):
            for name, spec in info["input"].get(group, {}).items():
                yield node, name, spec, words[node]["inputs"][name]["tooltip"]


@every_language
def test_tooltips_are_short(infos, language):
    long = [(node, name) for node, name, _, tip in tooltips(infos, language) if len(tip) > LONGEST_TOOLTIP]
    assert long == []


@every_language
def test_a_number_has_a_default_or_a_typical_value_in_its_tooltip(infos, language):
    found = [
        (n, i) for n, i, spec, tip in tooltips(infos, language) if spec[0] in NUMBERS and not re.search(r"\d", tip)
    ]
    assert found == []


@every_language
def test_a_help_page_says_when_one_needs_the_node(infos, language):
    """As its first section, so that it is what one reads first."""
    for node in infos:
        text = DOCS.joinpath(PAGES[language].format(node)).read_text("utf-8")
        headings = [line for line in text.splitlines() if line.startswith("## ")]
        assert headings[:1] == [FIRST_HEADING[language]], node


def strings(path: Path):
    """The texts of a module that are no docstrings and have more than a word."""
    tree = ast.parse(path.read_text("utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
        if is_text and id(node) not in docstrings:
            yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def texts():
    """(where, text) of everything in English that users read: messages, reports, help, documents, templates."""
    for path in tracked("*.py"):
        if path.relative_to(ROOT).parts[0] not in ("tests", "benchmarks"):
            yield from strings(path)
    for path in tracked("README.md", "docs/*.md", "web/docs/*.md"):
        if path.name != "zh.md" and not path.name.endswith(".zh.md"):
            prose = re.sub(
                r"```.*?```|`[^`\n]*`|<!-- (\w+):begin -->.*?<!-- \1:end -->",
                "",
                path.read_text("utf-8"),
                flags=re.DOTALL,
            )
            yield str(path.relative_to(ROOT)), prose
    for node, words in read("en").items():
        yield f"locales: {node}", json.dumps(words)
    for path in tracked("workflows/*.json"):
        yield path.name, path.stem
        for node in json.loads(path.read_text("utf-8"))["nodes"]:
            yield path.name, node.get("title") or ""
            if node["type"] == "MarkdownNote":
                yield path.name, node["widgets_values"][0]


def test_nothing_that_users_read_has_a_word_of_ours():
    assert [(where, match[0]) for where, text in texts() for match in WORDS.finditer(text)] == []


def test_both_readmes_have_the_same_headings():
    levels = {
        name: re.findall(r"^(#+) ", (ROOT / name).read_text("utf-8"), re.MULTILINE)
        for name in ("README.md", "README.zh.md")
    }
    assert levels["README.md"] == levels["README.zh.md"]


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_a_readme_is_short(name):
    assert len((ROOT / name).read_bytes()) <= 12_000
