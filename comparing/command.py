"""x2v-quant compare: its options, its run and its report."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from ..common.typed_numbers import between
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


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", type=Path, help="the diffusion model as it should be: a file or a folder of parts")
    parser.add_argument("candidate", type=Path, help="the same model in another form, for instance quantized")
    parser.add_argument(
        "--vae", type=Path, metavar="FILE", help="decode both results and compare the pictures; default: latents only"
    )
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help="write heat_map.png (each layer) and error_plot.png (each step) there; default: no pictures",
    )
    sampling = parser.add_argument_group("what is sampled", "Small sizes are enough: both models get the same noise.")
    sampling.add_argument(
        "--size",
        type=between(int, *SIDES),
        nargs=2,
        default=SIZE,
        metavar=("WIDTH", "HEIGHT"),
        help=f"in pixels; default: {SIZE[0]} {SIZE[1]}",
    )
    sampling.add_argument(
        "--frames",
        type=between(int, 1, SIDES[1]),
        default=FRAMES,
        metavar="N",
        help=f"of a video; default: {FRAMES}, typical: 9 to 81",
    )
    sampling.add_argument(
        "--steps",
        type=between(int, 1, MOST_STEPS),
        default=20,
        metavar="N",
        help="of each model; default: 20; 4-step models: 4",
    )
    sampling.add_argument(
        "--seed", type=between(int, 0, MOST_SEED), default=0, metavar="N", help="of the noise; default: 0"
    )
    sampling.add_argument(
        "--t5",
        type=Path,
        metavar="FILE",
        help="umt5 text encoder, for prompts; default: random numbers in place of a prompt",
    )
    sampling.add_argument("--prompt", default="", metavar="TEXT", help="needs --t5; default: empty")
    sampling.add_argument("--negative", default="", metavar="TEXT", help="negative prompt, needs --t5; default: empty")
    experts = parser.add_argument_group("for experts")
    experts.add_argument(
        "--cfg",
        type=between(float, 0.0, MOST_CFG),
        default=1.0,
        metavar="X",
        help="default: 1, which uses no negative prompt and takes half the time. With prompts give the cfg of your "
        "workflow: 6 is typical (the default of Compare Models, which always has prompts), 1 for 4-step models",
    )
    experts.add_argument("--sampler", default="euler", metavar="NAME", help="as in KSampler; default: euler")
    experts.add_argument("--scheduler", default="simple", metavar="NAME", help="as in KSampler; default: simple")
    experts.add_argument(
        "--shift",
        type=between(float, *SHIFTS),
        metavar="X",
        help="as in ModelSamplingSD3, typical: 5 to 8; default: the model's own",
    )


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
    """The report as text, the verdict first."""
    first, *rest = found["markdown"].splitlines()
    return [first, f"({found['candidate']} compared with {found['reference']})", *rest]


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
