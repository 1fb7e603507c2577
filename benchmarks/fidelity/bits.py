"""How large a file's quantized layers are, in bits per weight: codes, scales and everything else that stores one."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from safetensors import safe_open

# ends of the names of a layer's tensors that store no weight
BESIDES = ("bias", "comfy_quant")


def bits_per_weight(file: Path, layers: Sequence[str], weights: int) -> float:
    """file: .safetensors or .gguf; layers: names without ".weight"; weights: how many values they have together. A
    layer that stayed as it was counts with its 16 bits."""
    tensors = _gguf(file) if file.suffix == ".gguf" else _safetensors(file)
    return layer_bits(tensors, layers) / weights


def layer_bits(tensors: Iterable[tuple[str, int]], layers: Sequence[str]) -> int:
    """tensors: (name, bytes)."""
    chosen, total = set(layers), 0
    for name, size in tensors:
        layer, _, end = name.rpartition(".")
        if layer in chosen and end not in BESIDES:
            total += 8 * size
    return total


def _safetensors(file: Path) -> Iterator[tuple[str, int]]:
    with safe_open(file, framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - no dict
            yield name, tensors.get_tensor(name).nbytes


def _gguf(file: Path) -> Iterator[tuple[str, int]]:
    import gguf

    for tensor in gguf.GGUFReader(file).tensors:
        yield tensor.name, int(tensor.n_bytes)
