"""Compares two models with the same noise and conditioning, by step and by layer. Needs ComfyUI on the path."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..linear.layers import linear_layers
from .errors import CompareError
from .layers import Layers, Sizes
from .metrics import WINDOW, psnr, relative_error, ssim
from .report import Report
from .sampling import Job
from .verdict import verdict
from .watch import Watch

STEPS = 3  # number of steps at which layers are compared
SAME = "Connect two forms of the same model."
# samplers whose number of steps depends on the model's output
ADAPTIVE = ("dpm_adaptive",)

# (steps done, total steps of both models, predicted clean latent)
Tick = Callable[[int, int, torch.Tensor], None]


@dataclass(frozen=True)
class Comparison:
    """`latents`: the results of the reference and of the candidate."""

    report: Report
    latents: tuple[torch.Tensor, torch.Tensor]


def compare(reference, candidate, job: Job, vae=None, tick: Tick = lambda *_: None) -> Comparison:
    """Sample `reference` and `candidate` (ModelPatchers of any loader) once each and compare.

    Layers are compared on the same inputs: rows of the reference's inputs at STEPS steps are also passed to the
    candidate's layers at the same step. The reference's predicted latents of all steps stay in RAM. vae: core's VAE, to
    decode both results; None for no pictures. Raises CompareError for models whose layers or noise levels differ, for
    noise levels that are not finite, if there is no step, and for a sampler without a fixed number of steps.
    """
    sizes = matching_sizes(reference, candidate)
    total = _step_count(job, reference, candidate)
    steps = spread(total)
    layers = Layers(sizes, steps)
    predicted: list[torch.Tensor] = []
    errors: list[float] = []

    def keep(step, x0, _):
        predicted.append(flat(x0))
        tick(step + 1, 2 * total, x0)

    def hold_against(step, x0, _):
        errors.append(relative_error(predicted[step], flat(x0)))
        tick(total + step + 1, 2 * total, x0)

    true = job.sample(reference, Watch(steps, layers.record), keep)
    got = job.sample(candidate, Watch(steps, layers.measure), hold_against)
    result = relative_error(flat(true), flat(got))
    noise, similarity = (None, None) if vae is None else _pictures(vae, true, got)
    found = layers.found()
    words = verdict(errors, result, noise, similarity, found)
    return Comparison(Report(tuple(errors), result, noise, similarity, found, words), (true, got))


def matching_sizes(reference, candidate) -> Sizes:
    """Linear layer -> (out_features, in_features). Raises CompareError unless both models have the same."""
    ours, theirs = (_sizes(patcher) for patcher in (reference, candidate))
    for names, others, words in ((ours, theirs, "candidate"), (theirs, ours, "reference")):
        missing = next((name for name in names if name not in others), None)
        if missing is not None:
            raise CompareError(f"The models do not match: the {words} has no layer {missing}. {SAME}")
    for name, size in ours.items():
        if theirs[name] != size:
            raise CompareError(
                f"The models do not match: layer {name} is {_by(size)} in the reference and {_by(theirs[name])} in the "
                f"candidate. {SAME}"
            )
    return ours


def spread(total: int) -> tuple[int, ...]:
    """STEPS evenly spaced indices of `total` steps, first and last included; all if there are fewer."""
    wanted = min(STEPS, total)
    return tuple(round(place * (total - 1) / max(wanted - 1, 1)) for place in range(wanted))


def flat(latent: torch.Tensor) -> torch.Tensor:
    """The values of a latent as a vector, float32 on the CPU. Video with sound is core's NestedTensor."""
    tensors: Sequence[torch.Tensor] = latent.unbind() if latent.is_nested else (latent,)
    return torch.cat([tensor.detach().float().cpu().flatten() for tensor in tensors])


def _sizes(patcher) -> Sizes:
    layers = linear_layers(patcher.model.diffusion_model)
    return {name: (layer.out_features, layer.in_features) for name, layer in layers.items()}


def _by(size: tuple[int, int]) -> str:
    return " x ".join(map(str, size))


def _step_count(job: Job, reference, candidate) -> int:
    if job.settings.sampler_name in ADAPTIVE:
        raise CompareError(
            f"Sampler {job.settings.sampler_name} chooses its own number of steps for each model. Pick another sampler."
        )
    sigmas = [job.sigmas(model).cpu() for model in (reference, candidate)]
    for levels, words in zip(sigmas, ("reference", "candidate"), strict=True):
        if not levels.isfinite().all():
            raise CompareError(
                f"The {words} has noise levels that are not numbers: give it another shift, or pick another scheduler "
                "or more steps."
            )
    if not torch.equal(*sigmas):
        raise CompareError(
            "The models do not match: they are sampled at different noise levels. Put the same ModelSampling node "
            "with the same shift after both."
        )
    total = len(sigmas[0]) - 1
    if total < 1:
        raise CompareError("There is nothing to sample: raise steps or denoise.")
    return total


def _pictures(vae, true: torch.Tensor, got: torch.Tensor) -> tuple[float, float | None]:
    """(PSNR in dB, SSIM) of the decoded latents. SSIM is None for pictures smaller than its window."""
    x, y = (_frames(vae, latent) for latent in (true, got))
    return psnr(x, y, float("inf")), ssim(x, y) if min(x.shape[1:3]) >= WINDOW else None


def _frames(vae, latent: torch.Tensor) -> torch.Tensor:
    """The decoded latent, [frames, height, width, channels] in 0 to 1, all videos of a batch in a row."""
    images = vae.decode(latent.unbind()[0] if latent.is_nested else latent)
    return images.reshape(-1, *images.shape[-3:]).cpu()
