"""The demo: writes the small models, starts ComfyUI, posts the workflow a user opens and reports what ran and how."""

import argparse
import json
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import av
from PIL import Image
from tqdm import tqdm

from ..headless.client import Event, Result, ServerError
from ..headless.server import PACK, Server, StartError, serve
from ..headless.workflow import Prompt, override, to_prompt
from . import assets
from .memory import MIB, PeakMemory

WORKFLOWS = PACK / "workflows"
STEPS = 8
SIDE, FRAMES = 128, 17
PROMPT = "a small red fox runs over the sea, bright and round"
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
            self.bar = tqdm(total=total, desc=self.label, unit="step", file=sys.stdout)
            self.first = done, time.monotonic()
        if done > self.first[0]:
            self.seconds = (time.monotonic() - self.first[1]) / (done - self.first[0])
        self.bar.update(done - self.bar.n)
        if done == total:
            self.bar.close()


def settings(kind: str, task: str) -> dict[str, object]:
    """What the demo changes in a published workflow: names and sizes. kind: "int8", "fp8"; task: "t2v", "i2v"."""
    files = assets.names(kind)
    changes: dict[str, object] = {
        "X2VLoadDiT.model_name": getattr(files, task),
        "X2VLoadT5.text_encoder_name": files.t5,
        "VAELoader.vae_name": files.vae,
        "Video Size.width": SIDE,
        "Video Size.height": SIDE,
        "Video Size.length": FRAMES,
        "SaveVideo.filename_prefix": f"video/{task}_{kind}",
    }
    if task == "i2v":
        changes["X2VLoadCLIPVision.clip_name"] = files.clip
    return changes


def workflow(task: str) -> dict:
    """The workflow as the frontend opens it."""
    return json.loads((WORKFLOWS / f"wan_{task}_quantized.json").read_text(encoding="utf-8"))


def node_of(prompt: Prompt, class_type: str) -> str:
    return next(node for node, entry in prompt.items() if entry["class_type"] == class_type)


def sample(server: Server, kind: str, args: argparse.Namespace) -> None:
    """Runs one format's workflow and prints its outcome."""
    client = server.client
    info = client.object_info()
    changes = {**settings(kind, args.task), "KSampler.steps": args.steps, "Positive Prompt.text": args.prompt}
    if args.task == "i2v":
        changes["Start Image.image"] = client.upload_image(start_image(server.base))
    prompt = override(to_prompt(workflow(args.task), info), changes, info)
    steps = Steps(node_of(prompt, SAMPLER), f"{args.task} {kind}")
    with PeakMemory(server) as memory:
        result = client.run(prompt, steps)
    video = saved_video(server, result, node_of(prompt, SAVER))
    (report,) = result.outputs[node_of(prompt, REPORT)]["text"]
    print(f"\n{report}\n")
    print(f"time per step  {steps.seconds * 1000:.0f} ms ({args.steps} steps, {SIDE}x{SIDE}, {FRAMES} frames)")
    print(f"peak memory    {memory.process // MIB} MiB of the server process")
    if not server.cpu:
        print(f"peak GPU use   {memory.gpu // MIB} MiB, all programs on it together")
    print(f"video          {video}\n", flush=True)


def saved_video(server: Server, result: Result, saver: str) -> Path:
    """The saved file, after every frame of it has been decoded. Raises ServerError where frames are missing."""
    (file,) = Result(result.prompt_id, {saver: result.outputs[saver]}).files()
    path = server.base / "output" / file["subfolder"] / file["filename"]
    with av.open(str(path)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    if frames != FRAMES:
        raise ServerError(f"{path} holds {frames} frames instead of {FRAMES}")
    return path


def start_image(base: Path) -> Path:
    """A picture for image to video: a gradient in each colour."""
    path = base / "start.png"
    down = Image.linear_gradient("L").resize((SIDE, SIDE))
    Image.merge("RGB", [down, down.rotate(90), down.rotate(180)]).save(path)
    return path


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py demo", description=__doc__)
    parser.add_argument("--cpu", action="store_true", help="do without the GPU")
    parser.add_argument("--format", choices=[*assets.FORMATS, "both"], default="both", help="default: both")
    parser.add_argument("--task", choices=["t2v", "i2v"], default="t2v", help="text or image to video; default: t2v")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--steps", type=int, default=STEPS, help=f"default: {STEPS}")
    parser.add_argument("--folder", type=Path, default=PACK / ".demo", help="for models and videos; default: .demo")
    return parser.parse_args()


def main() -> int:
    args = parse()
    # as an exception, so that the server is stopped on the way out
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    print("writing the demo's models ...", flush=True)
    assets.write(args.folder / "models")
    try:
        print("starting ComfyUI ...", flush=True)
        with serve(args.folder, cpu=args.cpu) as server:
            for kind in assets.FORMATS if args.format == "both" else [args.format]:
                sample(server, kind, args)
    except (ServerError, StartError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0
