"""Nodes, options and commands that messages name: every one exists, by the name that it has here."""

import argparse
import ast
import re
from pathlib import Path

from older_comfyui import core_has_all_names
from write_locales import read

from x2v_quant.cli.checkout import module_of
from x2v_quant.cli.commands import COMMANDS
from x2v_quant.core.on_path import PACK

# dev.py: it types words of pip's
OTHERS = {"tests", "benchmarks", "dev.py"}
# of nodes: what ComfyUI displays, of several words each with a capital or a number, or the name of a class
SHOWN = re.compile(
    r"\b(?:Load|Save|Quantize|Quantized|Quantization|Compare|Finish|Offload|Distilled|Kernel|Memory|Step)"
    r"(?: (?:[A-Z]\w*|\d\.\d))+(?: \(any format\))?"
)
CLASS = re.compile(r"\b[A-Z]\w*(?:Loader\w*|[a-zP]Save|Sampler\w+)\b")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]+")
DECLARED = re.compile(r'add_argument\(\s*"(--[\w-]+)"')
COMMAND = re.compile(r"(?:[`']|see )x2v-quant ([a-z][\w-]+)")
# of other programs
PIPS = {"--no-deps", "--index-url", "--no-build-isolation"}


def texts():
    """(file of the pack, what it may say) for every literal that is no docstring."""
    for file in sorted(PACK.rglob("*.py")):
        path = file.relative_to(PACK)
        if path.parts[0] in OTHERS or path.parts[0].startswith("."):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
                yield path.as_posix(), node.value


def named(pattern):
    return {(path, name) for path, text in texts() for name in pattern.findall(text)}


def names_of(display_name):
    """As it is shown, and without what stands in brackets behind it."""
    return display_name, re.sub(r" \([^()]+\)$", "", display_name)


def cores():
    """Source of core's nodes."""
    import nodes

    main = Path(nodes.__file__)
    return "".join(file.read_text(encoding="utf-8") for file in (main, *main.parent.glob("comfy_extras/*.py")))


@core_has_all_names
def test_nodes():
    found = named(SHOWN) | named(CLASS)
    source = cores()
    ours = {name for node, words in read("en").items() for name in (node, *names_of(words["display_name"]))}
    unknown = {(path, name) for path, name in found if name not in ours and f'"{name}"' not in source}
    assert len(found) > 20 and not unknown


def test_an_input_is_called_what_its_label_says():
    """The id is what API prompts have, and the command `run`: it may follow the label, in brackets."""
    labels = {
        (name, re.sub(r" \([^()]+\)$", "", shown["name"]))
        for words in read("en").values()
        for name, shown in words.get("inputs", {}).items()
        if "_" in name and shown.get("name", name) != name
    }
    said = [(path, text) for path, text in texts() if " " in text and not path.startswith("headless/")]
    assert ("low_noise", "low-noise file") in labels
    assert [
        (path, name)
        for path, text in said
        for name, label in labels
        if re.search(rf"(?<!/)\b{name}\b", text) and label not in text
    ] == []


def test_no_name_is_that_of_two_nodes():
    """In newer ComfyUI "Load LoRA" is core's."""
    assert not [path for path, text in texts() if re.search(r"\bLoad LoRA\b(?! \()", text)]


@core_has_all_names
def test_options_and_commands():
    import comfy.cli_args

    known = PIPS | {"--json"} | set(OPTION.findall(Path(comfy.cli_args.__file__).read_text(encoding="utf-8")))
    for own in ("dev.py", "demo/run.py"):
        known |= set(DECLARED.findall((PACK / own).read_text(encoding="utf-8")))
    for command in COMMANDS:
        parser = argparse.ArgumentParser()
        getattr(module_of(command.module, command.name), "arguments", lambda parser: None)(parser)
        known |= set(parser._option_string_actions)
    assert {(path, name) for path, name in named(OPTION) if name not in known} == set()
    names = {command.name for command in COMMANDS}
    assert {(path, name) for path, name in named(COMMAND) if name not in names} == set()


def test_messages_that_the_page_explains_are_said():
    """Of each, a part of a few words is in a literal of the pack; what is between comes from the file."""
    page = (PACK / "docs" / "when-something-is-refused.md").read_text(encoding="utf-8")
    messages = [text for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for text in re.findall("`(.*?)`", row)]
    literals = {text.strip() for _, text in texts()}
    long = {text for text in literals if len(text) >= 12 and " " in text}

    def said(message):
        parts = [part.strip() for part in re.split(r"\.\.\.|\[|\]", message) if len(part.strip()) >= 12]
        return any(part in text for part in parts for text in literals) or any(text in message for text in long)

    assert len(messages) > 15
    assert [message for message in messages if not said(message)] == []
