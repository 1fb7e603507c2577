"""The demo: writes the small models, starts ComfyUI, posts the workflow a user opens and reports what came of it."""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import av
from tqdm import tqdm

from ..checkpoints import CheckpointError
from ..common.sizes import amount
from ..core.on_path import PACK, StartError
from ..headless.client import Event, Result, ServerError
from ..headless.server import Server, serve
from ..reports.machine import MACHINE
from . import assets, recipe
from .contact_sheet import contact_sheet
from .graph import TASKS, node_of, prompt
from .memory import PeakMemory
from .prompts import scene, verdict
from .reading import read
from .scenes import FRAMES, SIDE
from .video import START_IMAGE, START_SEED, frames, start_image

BOTH = "both"
SEED = 3  # of the noise
SAMPLER, REPORT, SAVER = "KSampler", "X2VKernelReport", "SaveVideo"


@dataclass
class Steps:
    """Draws the sampler's progress and keeps the time between its steps. The first is not timed: it loads models.

    The server merges reports that come quickly, so not every step is heard of.
    """

    sampler: str
    label: str
    bar: tqdm | None = None
    first: tuple[int, float] = (0, 0.0)
    seconds: float = 0.0

    def __call__(self, event: Event) -> None:
        if event.type != "progress" or event.data["node"] != self.sampler:
            return
        done, total = event.data["value"], event.data["max"]
        if self.bar is None:
            self.bar = tqdm(total=total, desc=self.label, unit="step", file=sys.stdout, disable=None)
            self.first = done, time.monotonic()
        if done > self.first[0]:
            self.seconds = (time.monotonic() - self.first[1]) / (done - self.first[0])
        self.bar.update(done - self.bar.n)
        if done == total:
            self.bar.close()


def sample(server: Server, kind: str, args: argparse.Namespace) -> None:
    """Runs one format's workflow and prints its outcome."""
    client = server.client
    changes = {
        "KSampler.steps": args.steps,
        "KSampler.seed": args.seed,
        "Positive Prompt.text": args.prompt,
        "SaveVideo.filename_prefix": f"video/{args.task}_{kind}",
    }
    picture = None
    if args.task == "i2v":
        drawn = server.base / START_IMAGE
        start_image(scene(args.prompt), START_SEED).save(drawn)
        picture = client.upload_image(drawn)
    made = prompt(kind, args.task, client.object_info(), changes, picture)
    steps = Steps(node_of(made, SAMPLER), f"{args.task} {kind}")
    with PeakMemory(server) as memory:
        result = client.run(made, steps)
    path = saved_video(server, result, node_of(made, SAVER))
    video = frames(path)
    if len(video) != FRAMES:
        raise ServerError(f"{path} has {len(video)} frames and not {FRAMES}")
    sheet = path.with_suffix(".png")
    contact_sheet(video).save(sheet)
    (report,) = result.outputs[node_of(made, REPORT)]["text"]
    # what else this machine could run is for `x2v-quant doctor` to say
    models, _, _ = report.partition(f"\n{MACHINE}\n")
    print(f"\n{verdict(args.prompt, read(video))}")
    print(f"video          {path}")
    print(f"its frames     {sheet}")
    print(f"time per step  {steps.seconds * 1000:.0f} ms ({args.steps} steps, {SIDE}x{SIDE}, {FRAMES} frames)")
    print(f"most memory    {amount(memory.process)} of the server")
    if not server.cpu:
        print(f"most VRAM      {amount(memory.gpu)}, all programs together")
    print(f"\n{models}\n", flush=True)


def saved_video(server: Server, result: Result, saver: str) -> Path:
    """The one file that a SaveVideo node saved."""
    (file,) = Result(result.prompt_id, {saver: result.outputs[saver]}).files()
    return server.base / "output" / file["subfolder"] / file["filename"]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py demo",
        description="Make a short video with the small model that comes with the pack, in a real ComfyUI, and say what "
        "it shows.",
        epilog="The model knows circles, squares and triangles in six colours that move in four directions.",
    )
    parser.add_argument("--prompt", default=recipe.PROMPT, metavar="TEXT", help="default: %(default)s")
    parser.add_argument("--task", choices=TASKS, default="t2v", help="text or picture to video; default: t2v")
    parser.add_argument(
        "--format",
        choices=[*assets.FORMATS, assets.ORIGINAL, BOTH],
        default=BOTH,
        help="of the model; both is int8 and fp8, bf16 is not quantized; default: both",
    )
    parser.add_argument("--steps", type=int, default=recipe.STEPS, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help="of the noise; default: %(default)s")
    parser.add_argument("--cpu", action="store_true", help="do not use the GPU; default: use it if there is one")
    parser.add_argument(
        "--folder", type=Path, default=PACK / ".demo", metavar="FOLDER", help="for models and videos; default: .demo"
    )
    return parser.parse_args(arguments)


def main() -> int:
    """Exit status: 0 if every video was made and can be decoded, whatever it shows."""
    args = parse()
    print("Writing the demo's models ...", flush=True)
    try:
        assets.write(args.folder / "models")
        print("Starting ComfyUI, which takes up to a minute ...", flush=True)
        with serve(args.folder, cpu=args.cpu) as server:
            for kind in assets.FORMATS if args.format == BOTH else [args.format]:
                sample(server, kind, args)
    except (CheckpointError, ServerError, StartError, av.FFmpegError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0
