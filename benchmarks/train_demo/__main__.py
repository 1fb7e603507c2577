"""Trains the demo model from nothing and writes its files: python -m x2v_quant.benchmarks.train_demo [PART ...]

The parts in their order: vae, dit (with the text encoder), clip, i2v. Each is trained on what the ones before it left
in the folder and is kept only if what it makes is read right.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ...core.on_path import use_comfyui
from ...demo.scenes import SCENES, Scene

SEED = 20
log = logging.getLogger("train_demo")


@dataclass(frozen=True)
class Job:
    """What a part's training needs to know."""

    folder: Path
    seed: int
    device: torch.device
    shorten: int
    generator: torch.Generator

    @property
    def scenes(self) -> list[Scene]:
        """Those that a part is judged by; a few where it is only tried."""
        return list(SCENES) * 2 if self.shorten == 1 else list(SCENES[::12])


class GateError(Exception):
    """A part turned out worse than the ones after it can use."""


def gate(part: str, measured: dict[str, float], wanted: float, job: Job) -> None:
    log.info("%s: %s", part, ", ".join(f"{name} {value:.4g}" for name, value in measured.items()))
    worst = min((value, name) for name, value in measured.items() if name in ("colour", "shape", "direction", "kind"))
    if worst[0] < wanted and job.shorten == 1:
        raise GateError(f"{part}: {worst[1]} is right in {worst[0]:.1%}, at least {wanted:.0%} is needed. Not saved.")


def train_vae(job: Job) -> dict:
    from . import files, vae

    model, seconds = vae.train(job.seed, job.device, job.shorten)
    measured = vae.accuracy(model, job.scenes, job.generator, job.device)
    gate("vae", measured, 0.95, job)
    files.save(job.folder, files.VAE, model.state_dict())
    return {
        "seconds": seconds,
        "steps": [*(stage[0] for stage in vae.STAGES), vae.DECODER_STEPS],
        "reconstructions": measured,
    }


def train_dit(job: Job) -> dict:
    from . import dit, files, sampling, text

    spiece = text.spiece_model(job.seed)
    vae = load_vae(job)
    text_model, wan, seconds, loss = dit.train(job.seed, vae, spiece, job.device, job.shorten)
    pair = dit.Pair(text_model, wan)
    measured = sampling.accuracy(lambda scenes: pair, vae, job.scenes, job.seed, job.device)
    gate("dit", measured, 0.9, job)
    files.save_spiece(job.folder, spiece)
    files.save(job.folder, files.T5, text_model.tensors())
    files.save(job.folder, files.DIT, wan.tensors())
    return {"seconds": seconds, "steps": dit.STEPS, "batch": dit.BATCH, "loss": loss, "prompts": measured}


def train_clip(job: Job) -> dict:
    from . import clip, files

    text_model = load_text(job)
    model, seconds = clip.train(job.seed, text_model, job.device, job.shorten)
    measured = {"kind": clip.accuracy(model, text_model, job.generator, job.device, 2 * len(job.scenes))}
    gate("clip", measured, 0.9, job)
    files.save(job.folder, files.CLIP, model.tensors())
    return {"seconds": seconds, "steps": clip.STEPS, "frames": measured}


def train_i2v(job: Job) -> dict:
    from . import clip, dit, files, i2v, sampling

    wan, vision = dit.Wan(job.seed), clip.Vision(job.seed)
    wan.fill(files.load(job.folder, files.DIT))
    vision.fill(files.load(job.folder, files.CLIP))
    frozen = (model.to(job.device).requires_grad_(False) for model in (wan, vision))
    base = i2v.Base(load_vae(job), load_text(job), *frozen)
    tensors, seconds, loss = i2v.train(job.seed, base, job.device, job.shorten)
    started = i2v.starter(base, tensors, job.generator, job.device)
    measured = sampling.accuracy(started, base.vae, job.scenes, job.seed, job.device)
    gate("i2v", measured, 0.9, job)
    files.save(job.folder, files.I2V, tensors)
    return {"seconds": seconds, "steps": i2v.STEPS, "loss": loss, "pictures": measured}


def load_vae(job: Job):
    from . import files, vae

    model = vae.new(job.seed)
    model.load_state_dict(files.load(job.folder, files.VAE))
    return model.to(job.device).requires_grad_(False).eval()


def load_text(job: Job):
    from . import files, text

    model = text.Text(job.seed, (job.folder / files.SPIECE).read_bytes())
    model.fill(files.load(job.folder, files.T5))
    return model.to(job.device).requires_grad_(False)


PARTS: dict[str, Callable[[Job], dict]] = {"vae": train_vae, "dit": train_dit, "clip": train_clip, "i2v": train_i2v}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m x2v_quant.benchmarks.train_demo",
        description="Train the demo's small model from nothing, and write its files.",
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to train: {', '.join(PARTS)}; default: all")
    parser.add_argument(
        "--folder", type=Path, metavar="FOLDER", help="for the files; default: the repository's own, demo"
    )
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help="of the training; default: %(default)s")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="of the CPU; default: all")
    parser.add_argument(
        "--shorten", type=int, default=1, metavar="N", help="train N times shorter, to see that it runs; default: 1"
    )
    args = parser.parse_args()
    unknown = set(args.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    use_comfyui()
    from . import files

    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folder = args.folder or files.FOLDER
    for part in args.parts or PARTS:
        job = Job(folder, args.seed, device, args.shorten, torch.Generator().manual_seed(args.seed + 1))
        torch.manual_seed(args.seed)
        try:
            entry = PARTS[part](job)
        except GateError as error:
            parser.exit(1, f"train_demo: {error}\n")
        files.record(folder, {part: entry | files.made_with(job.seed, job.device)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
