"""x2v-quant compare: its options, its run and its report."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from ..core.on_path import use_comfyui
from ..writing import made_folder, whole_file
from .errors import CompareError

PICTURES = ("heat_map", "error_plot")
# default size in pixels and frames, large enough for realistic inputs of all layers
SIZE, FRAMES = (512, 320), 9
# the random prompt uses the seed itself, the negative one seed + 1
MOST_SEED = 2**64 - 2
# least and most pixels: a patch of every family's latent, and the limit of core's nodes
SIDES = 32, 16384
MOST_STEPS, MOST_CFG, SHIFTS = 10000, 100.0, (0.01, 100.0)  # as the nodes take them


def _between(kind: Callable[[str], float], least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = kind(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least} and {most}")
        return value

    read.__name__ = kind.__name__  # argparse says it of what is no number
    return read


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", type=Path, help="the diffusion model as it should be: a file or a folder of parts")
    parser.add_argument("candidate", type=Path, help="the same model in another form")
    parser.add_argument(
        "--seed",
        type=_between(int, 0, MOST_SEED),
        default=0,
        help="of the noise, and of the prompt without --t5; default: 0",
    )
    parser.add_argument("--steps", type=_between(int, 1, MOST_STEPS), default=8, help="default: 8")
    parser.add_argument(
        "--cfg", type=_between(float, 0.0, MOST_CFG), default=1.0, help="default: 1, without a negative prompt"
    )
    parser.add_argument("--sampler", default="euler", metavar="NAME", help="default: euler")
    parser.add_argument("--scheduler", default="simple", metavar="NAME", help="default: simple")
    parser.add_argument(
        "--shift", type=_between(float, *SHIFTS), help="as ModelSamplingSD3 sets it; default: the model's own"
    )
    parser.add_argument(
        "--size", type=_between(int, *SIDES), nargs=2, default=SIZE, metavar=("WIDTH", "HEIGHT"), help="in pixels"
    )
    parser.add_argument(
        "--frames", type=_between(int, 1, SIDES[1]), default=FRAMES, help=f"of a video; default: {FRAMES}"
    )
    parser.add_argument("--t5", type=Path, metavar="FILE", help="text encoder (umt5) for the prompts; else random ones")
    parser.add_argument("--prompt", default="", metavar="TEXT", help="with --t5")
    parser.add_argument("--negative", default="", metavar="TEXT", help="with --t5")
    parser.add_argument("--vae", type=Path, metavar="FILE", help="decode both results, for PSNR and SSIM")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write heat_map.png and error_plot.png there")


def run(options: argparse.Namespace) -> dict:
    """Report.as_dict with the files, the settings and the report as Markdown. Raises CompareError and what the loaders
    raise."""
    for path in (options.reference, options.candidate, options.t5, options.vae):
        if path is not None and not os.path.exists(path):
            raise CompareError(f"There is nothing at {path}. Check the path.")
    if options.t5 is None and (options.prompt or options.negative):
        raise CompareError("Prompts need a text encoder: give its file with --t5, or leave the prompts out.")
    if options.pictures is not None:
        made_folder(options.pictures)
    use_comfyui()
    import torch

    # load and run in the same mode, as in ComfyUI
    with torch.inference_mode():
        return _run(options)


def lines(found: dict) -> list[str]:
    """The report as text."""
    return [f"{found['candidate']} against {found['reference']}", "", *found["markdown"].splitlines()]


def ok(found: dict) -> bool:
    """Whether the candidate's latents are finite."""
    return found["latent_error"] is not None


def _run(options: argparse.Namespace) -> dict:
    from comfy.samplers import KSampler

    from .compare import compare
    from .error_plot import error_plot
    from .files import load_model, load_vae
    from .heat_map import heat_map
    from .sampling import Settings
    from .text import describe

    # core would silently take another one
    _require("--sampler", options.sampler, KSampler.SAMPLERS)
    _require("--scheduler", options.scheduler, KSampler.SCHEDULERS)
    settings = Settings(options.seed, options.steps, options.cfg, options.sampler, options.scheduler)
    models = [_shifted(load_model(path), options.shift) for path in (options.reference, options.candidate)]
    vae = None if options.vae is None else load_vae(options.vae)
    with tqdm(total=1, disable=None, unit="step") as bar:

        def tick(done, total, _):
            bar.total = total
            bar.update(done - bar.n)

        report = compare(*models, _job(models[0], settings, options), vae, tick).report
    if options.pictures is not None:
        for name, picture in zip(PICTURES, (heat_map(report.layers), error_plot(report.steps)), strict=True):
            with whole_file(options.pictures / f"{name}.png", overwrite=True) as file:
                picture.save(file, format="PNG")
    files = {"reference": options.reference.name, "candidate": options.candidate.name}
    return {**files, "settings": vars(settings), **report.as_dict(), "markdown": describe(report)}


def _require(option: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise CompareError(f"{option} {name} is not known. Pick one of: {', '.join(known)}.")


def _job(model, settings, options: argparse.Namespace):
    from .sampling import Job
    from .synthetic import NEGATIVE, POSITIVE, conditioning, empty_latent

    if options.t5 is None:
        positive, negative = (conditioning(model, settings.seed + number) for number in (POSITIVE, NEGATIVE))
    else:
        from ..loading.t5 import load_t5

        clip = load_t5(str(options.t5), unquantized=True)
        positive, negative = (
            clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in (options.prompt, options.negative)
        )
    return Job(settings, positive, negative, empty_latent(model, *options.size, options.frames))


def _shifted(model, shift: float | None):
    if shift is None:
        return model
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    return ModelSamplingSD3().patch(model, shift)[0]
