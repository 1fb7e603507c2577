"""Every error case, run through the API: what the history says of it, and that no raise site is left out."""

import re
import shutil
import sys
import time
from dataclasses import dataclass

import pytest
from error_cases import CASES
from error_cases.place import ERRORS, Place
from error_cases.raise_sites import is_covered, raise_sites_of_nodes, said
from error_cases.reachable import modules_of_nodes
from error_cases.unreachable import COMMAND_LINE, UNREACHABLE

from x2v_quant.common.printable import SHOWN_AS
from x2v_quant.headless.client import ServerError
from x2v_quant.headless.server import PACK_NAME

pytestmark = pytest.mark.slow

LINE = re.compile(rf'File "[^"\n]*[/\\]{PACK_NAME}[/\\]([^"\n]+)", line (\d+), in ')
LINUX = sys.platform == "linux"
PATIENCE = 120  # seconds


@dataclass(frozen=True)
class Refusal:
    """`lines`: (file of the pack, line) of every traceback in the history and in the log, which has those of the errors
    behind it too. `early`: the prompt was not queued. `kind`: what the error panel shows before the message."""

    node: str
    message: str
    early: bool
    kind: str = ""
    lines: frozenset[tuple[str, int]] = frozenset()


@pytest.fixture(scope="module")
def refusal_of(server):
    """refusal_of(name of a case). Each is run once; its models are gone then, for the nodes that list them look at
    every one."""
    found: dict[str, Refusal] = {}

    def run(name: str) -> Refusal:
        if name not in found:
            place = Place(server.base, re.sub(r"\W+", "-", name))
            found[name] = refusal(server, CASES[name].make(place))
            for folder in place.models.glob(f"*/{ERRORS}"):
                shutil.rmtree(folder)
        return found[name]

    return run


def refusal(server, prompt) -> Refusal:
    begin = server.log.stat().st_size
    client = server.client
    try:
        prompt_id = client.submit(prompt)
    except ServerError as error:
        # core says what a node refuses once for each of its inputs
        (node,) = set(re.findall(r"^node .+? \((\w+)\): ", str(error), re.MULTILINE))
        return Refusal(node, str(error), early=True)
    deadline = time.monotonic() + PATIENCE
    while not (record := client.history(prompt_id)):
        assert time.monotonic() < deadline, "the prompt neither failed nor finished"
        time.sleep(0.02)
    told = [data for event, data in record["status"]["messages"] if event == "execution_error"]
    assert told, f"nothing was refused: {record['outputs']}"
    with server.log.open("rb") as log:
        log.seek(begin)
        text = log.read().decode("utf-8", errors="replace")
    traces = "".join([*told[0]["traceback"], text])
    lines = frozenset((file.replace("\\", "/"), int(line)) for file, line in LINE.findall(traces))
    said = told[0]["exception_message"].strip()
    return Refusal(told[0]["node_type"], said, False, told[0]["exception_type"], lines)


@pytest.mark.parametrize("name", CASES)
def test_the_message_says_what_and_what_to_do(name, refusal_of):
    case = CASES[name]
    if case.linux and not LINUX:
        pytest.skip("takes Linux's links and files")
    told = refusal_of(name)
    assert (told.node, told.early) == (case.node, case.early), told.message
    assert said(case.words, told.message), told.message
    assert told.early or told.message.endswith((".", ".)", "?")), "no sentence"
    assert told.early or told.kind == SHOWN_AS


@pytest.mark.skipif(not LINUX, reason="some take Linux's links and files")
def test_every_raise_site_has_an_error_case_or_a_reason_not_to(refusal_of):
    refusals = [refusal_of(name) for name in CASES]
    left = [site for site in raise_sites_of_nodes() if not is_covered(site, refusals)]
    excused = [site for site in left if any(row.is_for(site) for row in UNREACHABLE)]
    assert not [str(site) for site in left if site not in excused]
    stale = [row for row in UNREACHABLE if not any(row.is_for(site) for site in left)]
    assert not stale


def test_no_node_runs_what_is_the_command_lines():
    reached = modules_of_nodes()
    assert "nodes/loaders.py" in reached
    assert not [file for file in reached if file.startswith(COMMAND_LINE)]
