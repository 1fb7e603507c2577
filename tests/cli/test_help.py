"""What the command line says of itself: what to begin with, an example and the defaults of every command."""

import argparse
import shlex

import pytest

from x2v_quant.checkpoints.encodings import COMFYUI, DIALECTS, LIGHTX2V
from x2v_quant.cli import main
from x2v_quant.cli.checkout import module_of
from x2v_quant.cli.commands import COMMANDS
from x2v_quant.cli.parser import EXITS, FIRST
from x2v_quant.converting.command import READERS
from x2v_quant.converting.dialects import choices
from x2v_quant.layer_rules.format_names import CHOICES

every_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)


@pytest.fixture(autouse=True)
def usual_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def helped(*words, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_alone_it_says_what_to_begin_with(capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert len(FIRST) == 3 and all(f"x2v-quant {words} " in said for words, _ in FIRST)
    assert {words.split()[0] for words, _ in FIRST} < {command.name for command in COMMANDS}


def test_its_help_has_every_command_and_every_exit_status(capsys):
    said = helped(capsys=capsys)
    assert all(f"  {command.name}" in said for command in COMMANDS)
    assert all(f"  {status} " in said for status, _ in EXITS)


@every_command
def test_a_command_has_a_sentence_and_an_example(command, capsys):
    said = helped(command.name, capsys=capsys)
    assert command.help[0].isupper() and command.help.endswith(".")
    assert said.startswith(f"usage: x2v-quant {command.name} ")
    for words in command.examples:
        assert f"\n  x2v-quant {words}\n" in said and words.split()[0] == command.name
    assert said.isascii() and all(len(line) <= 80 for line in said.splitlines() if not line.startswith("  x2v-quant"))


@every_command
def test_an_example_is_one_that_the_command_takes(command, tmp_path, monkeypatch):
    (tmp_path / "ComfyUI" / "models").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser(exit_on_error=False)
    getattr(module_of(command.module, command.name), "arguments", lambda parser: None)(parser)
    for words in command.examples:
        parser.parse_args(shlex.split(words)[1:])


@every_command
def test_every_option_says_what_it_does_and_its_default(command):
    parser = argparse.ArgumentParser(add_help=False)
    getattr(module_of(command.module, command.name), "arguments", lambda parser: None)(parser)
    for action in parser._actions:
        assert action.help, action.dest
        if action.option_strings and action.default not in (None, False, [], ()):
            assert "default" in action.help.lower(), action.option_strings
        if action.type is not None and action.metavar in ("N", "X", "GB", "DB") and action.dest != "prompt_seed":
            assert any(letter.isdigit() for letter in action.help), action.option_strings


def test_convert_lists_every_format_and_dialect(capsys):
    said = " ".join(helped("convert", capsys=capsys).replace("-\n", "-").split()).replace("- ", "-")
    of_format, of_dialect = said.split("--format NAME ")[-1].split("--dialect ")[:2]
    listed = {name.strip() for name in of_format.split(", or")[0].split(",")}
    assert listed == set(CHOICES)
    assert READERS.keys() == set(DIALECTS) and all(f"{name}: " in of_dialect for name in DIALECTS)
    for dialect in (LIGHTX2V, COMFYUI):
        assert f"{dialect} has {', '.join(choices(dialect))}" in of_dialect


@pytest.mark.parametrize(
    "words,said",
    [
        (["nothing"], "x2v-quant: argument COMMAND: invalid choice: 'nothing' (choose from "),
        (["inspect"], "x2v-quant inspect: the following arguments are required: file. See x2v-quant inspect --help."),
        (["schemes", "--a\x1b[2J"], r"x2v-quant: unrecognized arguments: --a\x1b[2J. See x2v-quant --help."),
    ],
)
def test_a_mistake_is_told_in_one_line(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(said) and told.count("\n") == 1
