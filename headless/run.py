"""x2v-quant run: runs a saved workflow from the shell, on a server of its own or on one that runs already."""

import argparse
import copy
import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..common import limits
from ..common.ending import signals_as_exits
from ..common.printable import printable
from ..common.sizes import amount
from ..core.features import takes_models_directory
from ..core.on_path import find_comfyui
from ..writing import made_folder, unfit, whole_file
from .address import shown
from .base_folder import base_folder
from .client import Client, LateError, Result, ServerError, SilentError
from .dynamic_prompts import SEEDS, make_choices
from .progress import Progress
from .reading import read_workflow
from .server import Server, serve
from .set_in_graph import set_in_graph
from .settings import read_setting
from .workflow import Prompt, WorkflowError, convert

SAVED = "output"  # of a file: kept; previews are "temp"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "workflow",
        type=Path,
        help="a workflow that ComfyUI saved or exported (API), as .json; or a picture or video that was made by one",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="NODE.INPUT=VALUE",
        help="change a value of the workflow, e.g. KSampler.seed=7 or 3.steps=4. NODE is a node's number, title or "
        "class. A picture of this computer is uploaded: LoadImage.image=cat.png. May be given several times",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("output"), metavar="FOLDER", help="for what is saved; default: output"
    )
    parser.add_argument(
        "--server",
        metavar="URL",
        help="use the ComfyUI that runs there, e.g. http://127.0.0.1:8188; default: start one and stop it at the end",
    )
    parser.add_argument(
        "--prompt-seed",
        type=int,
        default=random.randrange(SEEDS),
        metavar="N",
        help="makes the choice in prompts like {red|blue} repeatable; default: another choice each time",
    )
    started = parser.add_argument_group(
        "the ComfyUI that is started", "Without --server. The variable COMFYUI_PATH names its folder."
    )
    started.add_argument("--models", type=Path, metavar="FOLDER", help="default: models of this ComfyUI")
    started.add_argument("--input", type=Path, metavar="FOLDER", help="for pictures; default: input of this ComfyUI")
    started.add_argument(
        "--pack",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="another node pack that the workflow needs; default: this pack only. May be given several times",
    )
    started.add_argument("--cpu", action="store_true", help="do not use the GPU, slow; default: use it if there is one")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """{workflow, prompt_id, seconds (of the prompt alone), files: paths, texts: {node: its text}}.

    Raises WorkflowError, ServerError (with the sentence of the node that failed) or StartError.
    """
    saved = read_workflow(options.workflow)
    made_folder(options.output)
    with signals_as_exits(), server_of(options) as (client, local):
        info = client.object_info()
        converted = convert(saved.to_run, info, options.prompt_seed)
        prompt, choices, graph = converted.prompt, converted.choices, copy.deepcopy(saved.graph)
        for text in options.settings:
            setting = read_setting(text, prompt, info)
            key = setting.node, setting.input
            uploaded = setting.uploads and os.path.isfile(setting.value)
            value = client.upload_image(Path(setting.value)) if uploaded else setting.value
            prompt[setting.node]["inputs"][setting.input] = value
            if graph is not None:
                set_in_graph(graph, info, *key, value)
            choices.pop(key, None)
            choices |= make_choices(prompt, info, options.prompt_seed, key)
        for note in (*converted.notes, *choices.values()):
            say(note)
        began = time.monotonic()
        with closing(Progress(prompt)) as progress:
            result = client.run(prompt, progress, graph, say)
        seconds = time.monotonic() - began
        kept = [file for file in result.files() if file["type"] == SAVED]
        files = [keep(client, file, options.output, local) for file in kept[: limits.FILES]]
        if len(kept) > limits.FILES:
            say(f"{len(kept)} files were saved; only the first {limits.FILES} are listed and fetched")
    return {
        "workflow": str(options.workflow),
        "prompt_id": result.prompt_id,
        "seconds": round(seconds, 3),
        "files": [str(file) for file in files],
        "texts": texts(result, prompt),
    }


def say(text: str) -> None:
    """Print a line above the progress bars."""
    tqdm.write(f"x2v-quant: {printable(text)}", file=sys.stderr)


def lines(report: dict[str, Any]) -> list[str]:
    """The report as text: that it worked, the files with their sizes, then what nodes showed."""
    files = report["files"]
    count = f"{len(files)} file{'s' * (len(files) != 1)}"
    found = [f"{report['workflow']} finished in {report['seconds']:.1f} s, {count} saved."]
    found += [f"{file}{_size(Path(file))}" for file in files]
    return found + [
        line for node, shown in report["texts"].items() for text in shown for line in (f"{node}:", *text.split("\n"))
    ]


def _size(file: Path) -> str:
    return f", {amount(file.stat().st_size)}" if file.is_file() else ""


@contextmanager
def server_of(options: argparse.Namespace) -> Iterator[tuple[Client, bool]]:
    """Context manager: (client, whether the server writes into our output folder itself)."""
    if options.server:
        yield reached(options.server), False
        return
    for folder in filter(None, (options.models, options.input, *options.pack)):
        if not os.path.isdir(folder):
            raise WorkflowError(f"There is no folder {folder}. Check the path.")
    comfyui = find_comfyui()
    folders = {"--input-directory": options.input or comfyui / "input", "--output-directory": options.output}
    arguments = [str(word) for name, folder in folders.items() for word in (name, folder.resolve())]
    # nothing is written into the user's ComfyUI: custom_nodes, temp and user are here
    with base_folder() as base:
        arguments += models_in((options.models or comfyui / "models").resolve(), comfyui, base)
        with (
            serve(base, options.cpu, options.pack, comfyui, arguments, temporary=True) as server,
            its_log_if_it_died(server),
        ):
            yield server.client, True


def reached(url: str) -> Client:
    """A client of the server at a typed address. Raises ServerError if no ComfyUI is there."""
    note = threading.Timer(
        limits.SLOW_SECONDS,
        say,
        (f"{shown(url)} is slow: waiting up to {limits.ANSWER_SECONDS} s for an answer",),
    )
    note.daemon = True
    note.start()
    try:
        client = Client(url)
        client.system_stats()
    except LateError as error:
        raise ServerError(f"{error}. It is busy, or no ComfyUI: try again, or look at its log") from error
    except SilentError as error:
        raise ServerError(
            f"No ComfyUI answers at {shown(url)}. Start it, or leave --server out. Addresses are like "
            "http://127.0.0.1:8188."
        ) from error
    finally:
        note.cancel()
    return client


def models_in(folder: Path, comfyui: Path, base: Path) -> list[str]:
    """Arguments of main.py for a models folder; for an older ComfyUI its folders are listed in a file in `base`."""
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
    except SilentError as error:
        raise ServerError(f"{error}\n{server.log_tail()}") from error


def keep(client: Client, file: dict[str, str], output: Path, local: bool) -> Path:
    """The path of a saved file in the output folder. local: the server wrote it there; else it is downloaded.

    An existing file stays: the new one gets a number. Raises ServerError for a name that leads outside the folder,
    hides the file or is not valid on every system.
    """
    # a server on Windows has its own separators
    folders = [part for part in file["subfolder"].replace("\\", "/").split("/") if file["subfolder"]]
    path = output.joinpath(*folders, file["filename"])
    if local:
        return path
    for name in (*folders, file["filename"]):
        check_fetched(name)
    path = unused(path)
    if not path.resolve().is_relative_to(output.resolve()):
        raise ServerError(f"the server saved a file outside its output folder, {path}: it is not fetched")
    with whole_file(path) as target:
        client.download(file, target)
    return path


def check_fetched(name: str) -> None:
    """Raises ServerError unless a name from a server is safe to write here."""
    cause = unfit(name) or ("it would be hidden" if name.startswith(".") else "")
    if cause:
        raise ServerError(
            f"the server saved a file as {name!r}, which is not fetched: {cause}. Give the node that saves it another "
            "filename_prefix, with --set"
        )


def unused(path: Path) -> Path:
    """The path, or the first of name-2, name-3, ... that does not exist."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free


def texts(result: Result, prompt: Prompt) -> dict[str, list[str]]:
    """The texts that nodes showed, by "id title"."""
    found = {}
    for node, output in result.outputs.items():
        title = prompt.get(node, {}).get("_meta", {}).get("title", "")
        if isinstance(output.get("text"), list) and output["text"]:
            found[f"{node} {title}".strip()] = [str(text) for text in output["text"]]
    return found
