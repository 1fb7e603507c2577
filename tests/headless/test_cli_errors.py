"""Every CLI case: an error that only the command line comes to is said there on one line."""

import traceback
from dataclasses import dataclass
from pathlib import Path

import pytest
from error_cases.cli_case import WorkFolder
from error_cases.commands import CLI_CASES
from error_cases.raise_sites import is_covered, raise_sites_of_commands, raise_sites_of_nodes, said
from error_cases.unreachable import BY_NO_COMMAND, UNREACHABLE

from x2v_quant.cli import main
from x2v_quant.core.on_path import PACK


@dataclass(frozen=True)
class Said:
    """As Refusal in tests/server/test_errors.py."""

    message: str
    status: int
    lines: frozenset[tuple[str, int]]


@pytest.fixture(scope="module")
def said_by(demo_models, tmp_path_factory):
    """said_by(name of a case) -> what it says, without what argparse says of its options. Each is run once."""
    found: dict[str, Said] = {}

    def run(name: str) -> Said:
        if name not in found:
            with pytest.MonkeyPatch.context() as patch:
                folder = tmp_path_factory.mktemp("command")
                patch.chdir(folder)
                found[name] = refused(CLI_CASES[name].make(WorkFolder(folder, demo_models)))
        return found[name]

    return run


def refused(arguments: list[str]) -> Said:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    errors = [stopped.value.__context__]
    while behind := errors[-1].__cause__ or errors[-1].__context__:
        errors.append(behind)
    frames = [
        (Path(f.f_code.co_filename), line) for error in errors for f, line in traceback.walk_tb(error.__traceback__)
    ]
    lines = frozenset((file.relative_to(PACK).as_posix(), line) for file, line in frames if file.is_relative_to(PACK))
    return Said(str(errors[0]), stopped.value.code, lines)


@pytest.mark.parametrize("name", CLI_CASES)
def test_it_says_what_and_what_to_do(name, said_by):
    case, told = CLI_CASES[name], said_by(name)
    assert told.status == case.status
    assert said(case.words, told.message), told.message
    assert "\n" not in told.message


def test_every_raise_site_has_a_cli_case_or_a_reason_not_to(said_by):
    told = [said_by(name) for name in CLI_CASES]
    of_commands = [row for row in UNREACHABLE if row.command]
    wanted = raise_sites_of_commands() + [
        s for s in raise_sites_of_nodes() if any(row.is_for(s) for row in of_commands)
    ]
    left = [site for site in wanted if not is_covered(site, told)]
    assert not [str(site) for site in left if not any(row.is_for(site) for row in BY_NO_COMMAND)]
    assert not [row for row in BY_NO_COMMAND if not any(row.is_for(site) for site in left)]
