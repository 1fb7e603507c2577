"""Saves a loaded MODEL or CLIP in one of the dialects, tensor by tensor, with its LoRAs merged."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import comfy.model_management
import comfy.sd1_clip
import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..checkpoints.encodings import COMFYUI, LIGHTX2V
from ..converting import packages
from ..converting.units import Spec, Unit
from ..converting.writer import Writer, reserved
from ..families import t5
from ..families.family import T5
from ..families.recognise import identify
from ..linear.layers import linear_layers
from .errors import QuantizeError
from .model import DIFFUSION_MODEL, WHOLE
from .patchers import with_loras_in_weights
from .saved_record import record
from .saving_units import SavedModule, plain

Progress = Callable[[int, int], None]

# the submodule of core's text encoders whose tensor names files have
TRANSFORMER = "transformer"
# tensor names of the encoders that core can read quantized: T5 XXL, and language models
READ_QUANTIZED = r"encoder\.block\.23\.layer\.1\.DenseReluDense\.wi|model\.layers\.0\.(self|linear)_attn\."


def save_model(
    patcher,
    target: Path,
    dialect: str,
    package: str = packages.FILE,
    progress: Progress = lambda done, total: None,
) -> int:
    """Write the diffusion model of a ModelPatcher and return the number of bytes. target: a file, or for other
    packages a new folder. LoRAs are merged and requantized as core does it. progress(bytes done, total bytes).

    Raises QuantizeError for a layer that the dialect cannot store, ConvertError if the target cannot be written.
    """
    patcher = with_loras_in_weights(patcher)
    module = SavedModule(patcher, DIFFUSION_MODEL, dialect, patcher.model.get_dtype_inference())
    if dialect == LIGHTX2V:
        shapes = {name: tuple(tensor.shape) for name, tensor in module.tensors().items()}
        names = identify(shapes, quantized=True).variant.lightx2v
        module = replace(module, names=names)
        units = [unit.under(names.prefix) for unit in module.units()]
    else:
        units = module.units()
    metadata = _metadata(patcher) | record(patcher, DIFFUSION_MODEL).metadata()
    return _write(units, target, package, metadata, progress)


def save_clip(clip, target: Path, dialect: str, progress: Progress = lambda done, total: None) -> int:
    """As `save_model`, for the text encoder of a comfy.sd.CLIP, into one file. LightX2V's dialect has Wan's own names;
    the others have ComfyUI's, and the tokenizer in the file.

    Also raises QuantizeError for several encoders, and for one that no loader of the dialect reads quantized.
    """
    patcher = with_loras_in_weights(clip.patcher)
    module = SavedModule(patcher, f"{_encoder(clip)}.{TRANSFORMER}", dialect, torch.bfloat16)
    if dialect == LIGHTX2V:
        module = replace(module, names=t5.WANS)
    _check_encoder(module)
    tokenizer = {} if dialect == LIGHTX2V else clip.tokenizer.state_dict()
    carried = [plain(name, Spec.of(tensor), lambda made=tensor: made) for name, tensor in tokenizer.items()]
    return _write([*module.units(), *carried], target, packages.FILE, record(patcher, WHOLE).metadata(), progress)


def _write(units: Sequence[Unit], target: Path, package: str, metadata: dict[str, str], progress: Progress) -> int:
    stem = target.stem if package == packages.FILE else target.name
    contents = packages.files(units, package, stem)
    writer = Writer(target, contents, metadata, package == packages.FILE, "", resume=False)
    done, total = 0, sum(unit.nbytes for unit in units)

    def advance(nbytes: int) -> None:
        nonlocal done
        comfy.model_management.throw_exception_if_processing_interrupted()
        done += nbytes
        progress(done, total)

    with reserved(target):
        writer.write(advance)
    return writer.bytes


def _encoder(clip) -> str:
    """The name of the only encoder in a CLIP."""
    children = clip.cond_stage_model.named_children()
    found = [name for name, module in children if isinstance(module, comfy.sd1_clip.SDClipModel)]
    if len(found) != 1:
        raise QuantizeError(
            f"This CLIP has {len(found)} text encoders ({', '.join(found)}), but a file can have only one. Load the "
            "one to save by itself, with Load CLIP."
        )
    return found[0]


def _check_encoder(module: SavedModule) -> None:
    """Raises QuantizeError for a quantized encoder that no loader of the dialect reads."""
    layers = linear_layers(module.root).values()
    if not any(isinstance(layer.weight, QuantizedTensor) for layer in layers):
        return
    shapes = {name: tuple(tensor.shape) for name, tensor in module.tensors().items()}
    name = module.path.removesuffix(f".{TRANSFORMER}")
    if module.dialect != COMFYUI and identify(shapes, quantized=True).kind != T5:
        raise QuantizeError(
            f"{name} is no umt5, the only text encoder that files for {module.dialect} can have. Set load with "
            f"(dialect) to {COMFYUI}."
        )
    if module.dialect == COMFYUI and not re.search(READ_QUANTIZED, "\n".join(shapes)):
        raise QuantizeError(
            f"ComfyUI reads no quantized {name}, only T5 XXL and language models. Save it before it is quantized, with "
            "CLIPSave."
        )


def _metadata(patcher) -> dict[str, str]:
    """Metadata for what core cannot infer from the weights of a Wan model: the width of its text embeddings."""
    config = patcher.model.model_config.unet_config
    width = config.get("text_dim")
    return {} if width is None else {"config": json.dumps({"transformer": {"text_dim": width}})}
