"""x2v-quant convert: a model's file, or a folder of them, becomes a quantized one."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ..checkpoints import Checkpoint, open_checkpoint
from ..checkpoints.checkpoint import HeldWeight
from ..checkpoints.folder import SAFETENSORS
from ..checkpoints.kinds import DIT, UNRECOGNISED
from ..checkpoints.markers import HEADER_KEY
from ..formats import family
from ..layer_rules import Override, select
from . import packages
from .dialects import layer_specs, layer_tensors, writable
from .errors import ConvertError
from .outputs import LIGHTX2V, Output, outputs
from .rows import quantize
from .source import Source
from .units import Spec, Unit
from .weights import Weights
from .writer import Writer

WEIGHT = ".weight"
FLOATS = ("float32", "bfloat16", "float16", "float64")
KEPT = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Options:
    """`format`: of every layer that the rules take, None leaves a quantized source's as it is. `overrides`: see
    layer_rules. `loras`: (file, strength), merged before anything is quantized. `package`: one of packages.PACKAGES,
    shards of at most `shard_bytes`. `kept`: a key of KEPT, the type of unquantized tensors, None for the source's.
    `resume` and `overwrite`: see Writer and `convert`."""

    format: str | None = None
    dialect: str = LIGHTX2V
    package: str = packages.FILE
    shard_bytes: int = packages.SHARD_BYTES
    overrides: tuple[Override, ...] = ()
    loras: tuple[tuple[Path, float], ...] = ()
    kept: str | None = None
    resume: bool = False
    overwrite: bool = False


def convert(source: Path, target: Path, options: Options, progress: Progress = lambda done, total: None) -> dict:
    """Write the model at `source` to `target`; the source is only read. progress(bytes done, bytes in all).

    Returns {"source", "target", "model", "family", "dialect", "formats": {format: layers}, "layers": {layer: format},
    "kept": {layer: reason}, "notes", "bytes", "seconds"}. Raises CheckpointError for a source that cannot be read,
    RuleError for overrides, ConvertError for everything else that stands in the way.
    """
    started = time.perf_counter()
    checkpoint = _open(source)
    _check_target(source, target, checkpoint, options)
    with Source(checkpoint) as opened:
        job = _Job(opened, options)
        units = job.units()
        stem = target.stem if options.package == packages.FILE else target.name
        contents = packages.files(units, options.package, stem, options.shard_bytes)
        single = options.package == packages.FILE
        writer = Writer(
            target, contents, job.metadata(), single, _fingerprint(checkpoint, units, options), options.resume
        )
        done, total = 0, sum(unit.nbytes for unit in units)

        def advance(nbytes: int) -> None:
            nonlocal done
            done += nbytes
            progress(done, total)

        writer.write(advance)
    return {
        "source": str(source),
        "target": str(target),
        "model": checkpoint.model,
        "family": job.selection.family,
        "dialect": options.dialect,
        "formats": dict(Counter(job.formats.values())),
        "layers": job.formats,
        "kept": job.selection.kept,
        "notes": job.notes,
        "bytes": writer.bytes,
        "seconds": time.perf_counter() - started,
    }


def _open(source: Path) -> Checkpoint:
    """The checkpoint if there is nothing wrong with it; one of an unknown family is nothing wrong."""
    checkpoint = open_checkpoint(source)
    known = checkpoint.family is not UNRECOGNISED
    for problem in checkpoint.problems:
        if known or problem.remedy != UNRECOGNISED.elsewhere:
            raise problem.error()
    return checkpoint


def _check_target(source: Path, target: Path, checkpoint: Checkpoint, options: Options) -> None:
    single = options.package == packages.FILE
    if single and target.suffix.lower() not in SAFETENSORS:
        raise ConvertError(f"{target.name} is no name for a model file: end it in .safetensors, or write shards.")
    if not single and target.suffix.lower() in SAFETENSORS:
        raise ConvertError(f"{target.name} would be a folder of files: give it a name without {target.suffix}.")
    sources = {source.resolve(), *(file.resolve() for file in checkpoint.files)}
    if target.resolve() in sources or any(file.parent == target.resolve() for file in sources):
        raise ConvertError(f"{target} is the source itself, which is never changed: choose another target.")
    if target.is_dir() and (single or any(target.iterdir())):
        raise ConvertError(f"{target} is a folder that is there already: choose another name, or empty it.")
    if target.exists() and single and not options.overwrite:
        raise ConvertError(f"{target} is there already: choose another name, or say --overwrite.")


class _Job:
    """The units of one conversion."""

    def __init__(self, source: Source, options: Options):
        self._source, self._options = source, options
        self._checkpoint = source.checkpoint
        self._weights = Weights(source)
        self._outputs = outputs(self._checkpoint, options.dialect)
        self.notes = list(self._checkpoint.notes)
        self._loras = self._read_loras()
        layers = {
            output.name.removesuffix(WEIGHT): output for output in self._outputs.values() if self._is_layer(output)
        }
        wanted = options.format or self._source_format(layers)
        shapes = {name: output.shape for name, output in layers.items()}
        self.selection = select(shapes, list(self._outputs), wanted, options.overrides)
        self.formats = self._formats(layers)
        if not self.formats:
            raise ConvertError(
                f"{self._checkpoint.path.name} has no layer to quantize: its {len(layers)} linear layers are all kept. "
                'Say which ones with lines like "blocks.*.ffn.* = int8-channel".'
            )
        self._check_dialect()

    def units(self) -> list[Unit]:
        """In the source's order."""
        found = []
        for output in self._outputs.values():
            layer = output.name.removesuffix(WEIGHT)
            if output.name.endswith(WEIGHT) and layer in self.formats:
                found.append(self._layer(layer, output))
            else:
                found.append(self._plain(output))
        return found

    def metadata(self) -> dict[str, str]:
        """The source's, without what it says of its own quantization."""
        gone = (HEADER_KEY, "quantization_profile", "weight_qmax")
        return {key: text for key, text in self._checkpoint.metadata.items() if key not in gone}

    def _read_loras(self):
        """lora.LoRAs, or an empty dict."""
        if not self._options.loras:
            return {}
        if self._checkpoint.kind != DIT:
            raise ConvertError(f"{self._checkpoint.path.name} is no diffusion model: LoRAs are merged into those only.")
        from .lora import LoRAs

        loras = LoRAs(self._options.loras, self._outputs)
        self.notes += loras.notes
        return loras

    def _is_layer(self, output: Output) -> bool:
        if not output.name.endswith(WEIGHT) or len(output.shape) != 2:
            return False
        key = output.pieces[0].key
        return self._weights.format(output) is not None or self._source.info(key).dtype in FLOATS

    def _source_format(self, layers: dict[str, Output]) -> str:
        """What most layers are already."""
        held = Counter(filter(None, map(self._weights.format, layers.values())))
        if not held:
            raise ConvertError(
                f"{self._checkpoint.path.name} is not quantized: say which format it is to have, like --format int8."
            )
        return family(held.most_common(1)[0][0])

    def _formats(self, layers: dict[str, Output]) -> dict[str, str]:
        """Layer -> format. A layer that the source has quantized and nobody asked for stays as it is."""
        result = {}
        for layer, output in layers.items():
            held = self._weights.format(output)
            chosen = self.selection.formats.get(layer)
            if held is not None and (chosen is None or (self._options.format is None and not self._overridden(layer))):
                chosen = family(held)
            if chosen is not None:
                result[layer] = chosen
        return result

    def _overridden(self, layer: str) -> bool:
        return any(override.matches(layer) for override in self._options.overrides)

    def _check_dialect(self) -> None:
        known = writable(self._options.dialect)
        wrong = next((layer for layer, name in self.formats.items() if name not in known), None)
        if wrong is not None:
            raise ConvertError(
                f"{wrong} would be {self.formats[wrong]}, which the dialect {self._options.dialect} does not have: "
                f"choose one of {', '.join(known)}, or the other dialect."
            )

    def _layer(self, layer: str, output: Output) -> Unit:
        format_name = self.formats[layer]
        scale_dtype = self._weights.scale_dtype(output)
        tensors = layer_specs(format_name, output.shape, self._options.dialect, scale_dtype)
        specs = {f"{layer}.{end}": Spec.of(tensor) for end, tensor in tensors.items()}

        def parts() -> Iterator[tuple[str, torch.Tensor]]:
            held = self._quantized(output, format_name)
            for end, tensor in layer_tensors(held, self._options.dialect, scale_dtype).items():
                yield f"{layer}.{end}", tensor

        return Unit(layer, specs, parts)

    def _quantized(self, output: Output, format_name: str) -> HeldWeight:
        place = f"{self._checkpoint.path.name}: {output.pieces[0].key}"
        stored, scale_dtype = self._weights.format(output), self._weights.scale_dtype(output)
        if output.name in self._loras:
            values = self._loras.merged(output.name, self._whole(output))
            return quantize(lambda a, b: values[a:b], output.shape, format_name, place, scale_dtype)
        if stored is None:
            rows = partial(self._weights.rows, output)
            return quantize(rows, output.shape, format_name, place, scale_dtype)
        held = self._weights.held(output, format_name) if family(stored) == format_name else None
        if held is None:
            values = self._whole(output)
            held = quantize(lambda a, b: values[a:b], output.shape, format_name, place, scale_dtype)
        return held

    def _whole(self, output: Output) -> torch.Tensor:
        """A weight in float32."""
        if self._weights.format(output) is None:
            return self._weights.rows(output, 0, output.shape[0])
        return self._weights.dequantized(output)

    def _plain(self, output: Output) -> Unit:
        info = self._source.info(output.pieces[0].key)
        stored = getattr(torch, info.dtype)
        kept = KEPT[self._options.kept] if self._options.kept and stored.is_floating_point else stored

        def parts() -> Iterator[tuple[str, torch.Tensor]]:
            if output.name in self._loras:
                whole = torch.cat(list(self._weights.plain(output))).to(torch.float32).reshape(output.shape)
                yield output.name, self._loras.merged(output.name, whole).to(kept)
                return
            for values in self._weights.plain(output):
                yield output.name, values.to(kept)

        return Unit(output.name, {output.name: Spec(kept, output.shape)}, parts)


def _fingerprint(checkpoint: Checkpoint, units: list[Unit], options: Options) -> str:
    """Two runs with the same one write the same bytes."""
    files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in checkpoint.files]
    specs = [(name, str(spec.dtype), spec.shape) for unit in units for name, spec in unit.specs.items()]
    loras = [(str(file), strength, file.stat().st_mtime_ns) for file, strength in options.loras]
    said = json.dumps([files, specs, loras, options.dialect, options.package, options.shard_bytes])
    return hashlib.sha256(said.encode()).hexdigest()
