"""A node shows an error of the pack on itself, and nothing else is changed by that."""

import types

import comfy.model_management
import pytest
from comfy_execution.utils import CurrentNodeContext

from x2v_quant.checkpoints import CheckpointError
from x2v_quant.nodes import NODE_CLASS_MAPPINGS, on_node

PAGE = "the page that queued it"


@pytest.fixture
def shown(monkeypatch):
    """What is written on nodes: (text, node, page)."""
    texts = []
    server = types.SimpleNamespace(client_id=PAGE, send_progress_text=lambda *args: texts.append(args))
    monkeypatch.setattr(on_node, "PromptServer", types.SimpleNamespace(instance=server))
    return texts


class Node:
    @classmethod
    @on_node.forgets_error
    def fingerprint_inputs(cls, value):
        return value

    @classmethod
    @on_node.error_on_node
    def execute(cls, error=None):
        if error is not None:
            raise error
        return "result"


def test_an_error_is_there_until_the_node_runs_again(shown):
    with CurrentNodeContext("prompt", "7"):
        with pytest.raises(CheckpointError):
            Node.execute(CheckpointError("a.pth is empty. Download it again."))
        assert shown == [("a.pth is empty. Download it again.", "7", PAGE)]
        assert [Node.execute(), Node.execute()] == ["result", "result"]
    assert shown[1:] == [(on_node.NOTHING, "7", PAGE)]


def test_an_error_goes_too_if_core_has_the_result_still(shown):
    """Of a node that runs before: only its fingerprint is asked for."""
    with CurrentNodeContext("prompt", "7"):
        with pytest.raises(CheckpointError):
            Node.execute(CheckpointError("a.pth is empty. Download it again."))
        assert [Node.fingerprint_inputs(1), Node.fingerprint_inputs(2)] == [1, 2]
    assert shown[1:] == [(on_node.NOTHING, "7", PAGE)]


def test_every_loader_forgets_its_error_so():
    asked = {name: vars(node).get("fingerprint_inputs") for name, node in NODE_CLASS_MAPPINGS.items()}
    bare = {name for name, found in asked.items() if found and not hasattr(found.__func__, "__wrapped__")}
    assert bare == {"X2VMemoryReport"}


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), comfy.model_management.InterruptProcessingException(), MemoryError(), RuntimeError("core")],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_pass_as_they_are(error, shown):
    with CurrentNodeContext("prompt", "7"), pytest.raises(type(error)) as caught:
        Node.execute(error)
    assert caught.value is error
    assert shown == []


def test_outside_of_a_run_there_is_no_node_to_write_on(shown):
    with pytest.raises(CheckpointError):
        Node.execute(CheckpointError("a.pth is empty. Download it again."))
    assert shown == []


def test_an_error_of_the_pack_is_not_taken_for_a_lack_of_memory():
    assert not comfy.model_management.is_oom(CheckpointError("a.pth is empty. Download it again."))


def test_lines_stay_lines_where_markdown_is_drawn(shown):
    """Nodes 2.0 joins the lines of a paragraph that have no two spaces at their end."""
    with CurrentNodeContext("prompt", "7"):
        on_node.show("a\nb\n- c\n- d\n\ne")
        on_node.show("one line", "9")
    assert shown == [("a  \nb\n- c\n- d\n\ne", "7", PAGE), ("one line", "9", PAGE)]


def test_every_node_that_takes_files_or_models_shows_its_errors():
    """Reports and schemes refuse nothing."""
    bare = {name for name, node in NODE_CLASS_MAPPINGS.items() if not hasattr(node.execute, "__wrapped__")}
    assert bare == {"X2VScheme", "X2VKernelReport", "X2VMemoryReport"}
