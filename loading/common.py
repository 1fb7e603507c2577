"""Common code of the three loaders: the plan for a checkpoint, its state dict, and checks of the loaded model."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import comfy.model_management
import comfy.utils
import torch

from ..checkpoints import Checkpoint, CheckpointError, Problem, Weights
from ..checkpoints.unused import note as unused_note
from ..common.log import log
from ..formats import FORMATS, family
from ..formats.convert import added_error, convert, serves
from ..kernels.machine import cpu_has_bf16, describe
from ..linear import QuantLinear
from ..schemes import AUTO, SchemeChoice, resolve, schemes_for
from ..schemes.plan import TRANSCODE, Plan, SchemeMismatchError
from ..schemes.verdict import verdict

INCOMPLETE = "The file is incomplete or was made for another version of this model: download it again."
OTHER_VARIANT = (
    "The file belongs to a variant of this model that this ComfyUI does not know: update ComfyUI or use another file."
)
# what constructors raise for inconsistent sizes
UNBUILT = (AssertionError, AttributeError, IndexError, RecursionError, TypeError, ValueError, ZeroDivisionError)
# torch's message for a tensor of another shape -> QuantLinear's message
SIZE = r"torch\.Size\((\[[\d, ]*\])\)"
MISMATCH = re.compile(
    rf"size mismatch for ([^:\n]+): copying a param with shape {SIZE} from [^(\n]+ current model is {SIZE}\."
)
MISFIT = r"\1 has shape \2, the model wants \3"
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def read_file(path) -> dict[str, torch.Tensor]:
    """Read a file with core's reader, so that weights stay mapped from it until core streams them."""
    return comfy.utils.load_torch_file(str(path))


def compute_dtype(choice: SchemeChoice, device: torch.device, fp16_is_safe: bool = True) -> torch.dtype:
    """The dtype of activations between layers: the user's choice, else the fastest 16-bit dtype of `device`, else
    float32. fp16_is_safe: whether float16 is allowed; T5's feed-forward layers overflow it."""
    if choice.compute_dtype != AUTO:
        return DTYPES[choice.compute_dtype]
    if device.type == "cpu":
        return torch.bfloat16 if cpu_has_bf16() else torch.float32
    if comfy.model_management.should_use_bf16(device):
        return torch.bfloat16
    if fp16_is_safe and comfy.model_management.should_use_fp16(device):
        return torch.float16
    return torch.float32


def make_plan(checkpoint: Checkpoint, component: str, choice: SchemeChoice, device, dtype: torch.dtype) -> Plan:
    """The plan for this checkpoint's `component` ("dit", "t5", "clip").

    Raises UnknownSchemeError, or SchemeMismatchError if the scheme is for another format and transcoding is off.
    """
    scheme = resolve(getattr(choice, component), component)
    name = Path(checkpoint.path).name
    if scheme.format is not None and not all(serves(stored, scheme.format) for stored in checkpoint.formats):
        fitting = ", ".join(schemes_for({family(stored) for stored in checkpoint.formats}, component))
        formats = " and ".join(sorted(checkpoint.formats))
        if scheme.format not in FORMATS:
            raise SchemeMismatchError(
                f"{name} has {formats} weights; scheme {scheme.name} is for {scheme.format}, which takes a newer "
                f"ComfyUI than this one. Pick one of: {fitting}."
            )
        if not choice.transcode:
            raise SchemeMismatchError(
                f"{name} has {formats} weights, scheme {scheme.name} is for {scheme.format}. "
                f"Pick one of: {fitting}; or {TRANSCODE} to convert the weights."
            )
    return Plan(name, scheme, describe(torch.device(device)), dtype, choice.strict, choice.transcode, component)


def state_dict(weights: Weights, plan: Plan) -> dict[str, torch.Tensor]:
    """ComfyUI's names -> tensors. Fills `plan`; quantized weights become QuantizedTensors of its compute dtype in the
    formats that it assigns. Conversions run on the plan's device, layer by layer.

    A layer whose shape the scheme's format cannot store stays in the file's. Raises NoKernelError as `Plan.assign`.
    """
    result = dict(weights.plain)
    say(plan, weights.notes)
    entries = {layer: plan.assign(layer, stored.format, stored.shape) for layer, stored in weights.quantized.items()}
    converting = sum(entry.converted for entry in entries.values())
    progress = comfy.utils.ProgressBar(converting) if converting else None
    for layer, stored in weights.quantized.items():
        entry = entries[layer]
        weight = stored.wrap(plan.compute_dtype)
        if entry.converted:
            on_device = weight.to(plan.machine.live)
            converted = convert(on_device, entry.choice.format)
            entry.added_error = added_error(on_device, converted)
            weight = converted.to(stored.tensors["codes"].device)
            progress.update(1)
        result[f"{layer}.weight"] = weight
    return result


def say(plan: Plan, notes: list[str]) -> None:
    """Report notes on a file: in the log, and in the plan's report."""
    plan.notes += notes
    for note in notes:
        log.warning("%s: %s", plan.title, note)


@contextmanager
def same_shapes(file: str) -> Iterator[None]:
    """Context manager around load_state_dict. Raises CheckpointError for a tensor of another shape than the model's."""
    try:
        yield
    except RuntimeError as error:
        told = MISMATCH.sub(MISFIT, str(error)).splitlines()
        misfits = [line.strip() for line in told if ", the model wants " in line]
        if not misfits:
            raise
        key, _, cause = misfits[0].partition(" ")
        raise Problem(file, key, f"{cause}{_and_more(misfits)}", INCOMPLETE).error() from error


@contextmanager
def buildable(file: str) -> Iterator[None]:
    """Context manager around code that infers a model's sizes. Raises CheckpointError for shapes that no model has."""
    try:
        yield
    except CheckpointError:
        raise
    except UNBUILT as error:
        raise Problem(
            file, "", "has tensors whose shapes make no model that ComfyUI can build", INCOMPLETE
        ).error() from error


def assign(model: torch.nn.Module, sd: dict[str, torch.Tensor], file: str) -> list[str]:
    """Load `sd` into a model on the meta device. Returns notes and raises as `check_complete`."""
    with same_shapes(file):
        model.load_state_dict(dict(sd), strict=False, assign=True)
    return check_complete(model, counts(sd), file)


def check_complete(model: torch.nn.Module, given: Mapping[str, int], file: str) -> list[str]:
    """Notes on single values in the file that the loaded model does not have, such as a training step. given: name ->
    number of values of the tensors in the file.

    Raises CheckpointError if the model lacks a weight or the file has one that the model does not: core only logs both.
    """
    places = {name for name, _ in model.named_parameters()} | {name for name, _ in model.named_buffers()}
    empty = [f"{n}.weight" for n, m in model.named_modules() if isinstance(m, QuantLinear) and m.weight is None]
    missing = sorted({name for name, _ in model.named_parameters()} - given.keys()) + empty
    if missing:
        raise Problem(file, missing[0], f"is missing{_and_more(missing)}", INCOMPLETE).error()
    unused = sorted(given.keys() - places)
    layers = [name for name in unused if "." in name or given[name] > 1]
    if layers:
        raise Problem(file, layers[0], f"has no place in ComfyUI's model{_and_more(layers)}", OTHER_VARIANT).error()
    return unused_note([name for name in unused if not name.startswith("__")])


def counts(sd: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Name -> number of values."""
    return {name: tensor.numel() for name, tensor in sd.items()}


def wanted(sd: dict[str, torch.Tensor], name: str, file: str) -> torch.Tensor:
    """sd[name], a tensor that sizes are inferred from. Raises CheckpointError if it is missing."""
    if name not in sd:
        raise Problem(file, name, "is missing", INCOMPLETE).error()
    return sd[name]


def announce(plan: Plan) -> None:
    """Log what the model is, if that is known, whether it is fast here, and its fallback if there is one."""
    groups = ", ".join(f"{g['layers']} layers {g['format']} on {g['kernel']}" for g in plan.summary())
    if plan.about:
        log.info("%s: %s", plan.title, plan.about)
    log.info("%s: %s%s", plan.title, verdict(plan), f" ({groups})" if groups else "")
    if plan.fallback():
        log.warning("%s: %s", plan.title, plan.fallback())


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
