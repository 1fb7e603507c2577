"""x2v-quant run: a saved workflow from the shell, on a server of its own or on one that runs already."""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ..core_features import takes_models_directory
from ..ending import signals_as_exits
from .client import Client, Result, ServerError
from .progress import Progress
from .server import Server, answers, find_comfyui, serve
from .settings import read_setting
from .workflow import Prompt, WorkflowError, to_prompt

SAVED = "output"  # of a file: kept; previews are "temp"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workflow", type=Path, help="a .json, as the frontend saves it or exported for the API")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="NODE.INPUT=VALUE",
        help="NODE is an id, a title or a class: 3.seed=7, KSampler.seed=7. A picture on this machine is uploaded. "
        "May be given several times",
    )
    parser.add_argument("--output", type=Path, default=Path("output"), metavar="FOLDER", help="default: output")
    parser.add_argument("--server", metavar="URL", help="use this ComfyUI; default: start one and stop it again")
    started = parser.add_argument_group("the server that is started", "COMFYUI_PATH names a ComfyUI elsewhere")
    started.add_argument("--models", type=Path, metavar="FOLDER", help="default: models of this ComfyUI")
    started.add_argument("--input", type=Path, metavar="FOLDER", help="of pictures; default: input of this ComfyUI")
    started.add_argument(
        "--pack",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="another node pack that the workflow needs; may be given several times",
    )
    started.add_argument("--cpu", action="store_true", help="do without the GPU")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """{workflow, prompt_id, seconds, files: paths, texts: {node: what it showed}}. `seconds` is the prompt alone.

    Raises WorkflowError, ServerError (with the sentence of the node that failed) or StartError.
    """
    workflow = read_workflow(options.workflow)
    with writing(options.output):
        options.output.mkdir(parents=True, exist_ok=True)
    with signals_as_exits(), server_of(options) as (client, local):
        info = client.object_info()
        prompt = to_prompt(workflow, info)
        for text in options.settings:
            setting = read_setting(text, prompt, info)
            uploaded = setting.uploads and Path(setting.value).is_file()
            prompt[setting.node]["inputs"][setting.input] = (
                client.upload_image(Path(setting.value)) if uploaded else setting.value
            )
        began = time.monotonic()
        with closing(Progress(prompt)) as progress:
            result = client.run(prompt, progress)
        seconds = time.monotonic() - began
        files = [keep(client, file, options.output, local) for file in result.files() if file["type"] == SAVED]
    return {
        "workflow": str(options.workflow),
        "prompt_id": result.prompt_id,
        "seconds": round(seconds, 3),
        "files": [str(file) for file in files],
        "texts": texts(result, prompt),
    }


def lines(report: dict[str, Any]) -> list[str]:
    """The report for a person."""
    shown = [
        line for node, found in report["texts"].items() for text in found for line in (f"{node}:", *text.split("\n"))
    ]
    return [*shown, *report["files"], f"{report['workflow']} finished in {report['seconds']:.1f} s"]


def read_workflow(path: Path) -> dict[str, Any]:
    """Raises WorkflowError for a file that is not there or not a workflow."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkflowError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except ValueError as error:
        raise WorkflowError(f"{path} is not JSON ({error}). Save the workflow again.") from error
    if not isinstance(found, dict) or not is_workflow(found):
        raise WorkflowError(f"{path} holds no workflow: save it in ComfyUI, or export it for the API.")
    return found


def is_workflow(found: Mapping[str, Any]) -> bool:
    """Whether it has what every saved graph, or every API prompt, has."""
    if "nodes" in found:
        kinds, nodes = {"id": (int, str), "type": str}, found["nodes"]
        graph = isinstance(nodes, list) and isinstance(found.get("links"), list)
    else:
        kinds, nodes, graph = {"class_type": str, "inputs": dict}, [*found.values()], True
    return graph and bool(nodes) and all(holds(node, kinds) for node in nodes)


def holds(entry: Any, kinds: Mapping[str, Any]) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), kind) for key, kind in kinds.items())


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises WorkflowError for what keeps a file or a folder from being written."""
    try:
        yield
    except OSError as error:
        raise WorkflowError(f"{path} cannot be written: {error.strerror}. Choose another place for it.") from error


@contextmanager
def server_of(options: argparse.Namespace) -> Iterator[tuple[Client, bool]]:
    """(client, whether the server writes into the output folder itself)."""
    if options.server:
        if not answers(options.server.rstrip("/")):
            raise ServerError(
                f"No ComfyUI answers at {options.server}. Start it, or leave --server out. Addresses are like "
                "http://127.0.0.1:8188."
            )
        yield Client(options.server), False
        return
    comfyui = find_comfyui()
    folders = {"--input-directory": options.input or comfyui / "input", "--output-directory": options.output}
    arguments = [str(word) for name, folder in folders.items() for word in (name, folder.resolve())]
    # nothing is written into the user's ComfyUI: custom_nodes, temp and user lie here
    with tempfile.TemporaryDirectory(prefix="x2v-quant-", ignore_cleanup_errors=True) as base:
        arguments += models_in((options.models or comfyui / "models").resolve(), comfyui, Path(base))
        with serve(Path(base), options.cpu, options.pack, comfyui, arguments) as server, its_log_if_it_died(server):
            yield server.client, True


def models_in(folder: Path, comfyui: Path, base: Path) -> list[str]:
    """Arguments of main.py for a models folder; an older ComfyUI gets a list of what is in it, written to `base`."""
    if takes_models_directory(comfyui):
        return ["--models-directory", str(folder)]
    kinds = {kind.name: kind.name for kind in folder.iterdir() if kind.is_dir()}
    listed = base / "models.yaml"
    listed.write_text(json.dumps({"models": {"base_path": str(folder), **kinds}}), encoding="utf-8")
    return ["--extra-model-paths-config", str(listed)]


@contextmanager
def its_log_if_it_died(server: Server) -> Iterator[None]:
    try:
        yield
    except ServerError as error:
        if answers(server.url):  # the process of one that dies is there for a moment longer
            raise
        raise ServerError(f"{error}\n{server.log_tail()}") from error


def keep(client: Client, file: dict[str, str], output: Path, local: bool) -> Path:
    """The path of a saved file in the output folder; fetched from the server if it is not the one that wrote it there.

    A file that is there already stays: the new one gets a number.
    """
    place = output.joinpath(file["subfolder"], file["filename"])
    if local:
        return place
    if not place.resolve().is_relative_to(output.resolve()):
        raise ServerError(f"the server saved a file outside its output folder, {place}: it is not fetched")
    found = client.view(file)
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        place = unused(place)
        place.write_bytes(found)
    return place


def unused(path: Path) -> Path:
    """The path, or the first of name-2, name-3, ... that is not there."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free


def texts(result: Result, prompt: Prompt) -> dict[str, list[str]]:
    """What nodes showed as text, by "id title"."""
    found = {}
    for node, output in result.outputs.items():
        title = prompt.get(node, {}).get("_meta", {}).get("title", "")
        if output.get("text"):
            found[f"{node} {title}".strip()] = [str(text) for text in output["text"]]
    return found
