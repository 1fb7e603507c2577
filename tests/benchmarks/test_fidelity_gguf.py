"""Files of ComfyUI-GGUF's formats: what they hold, K-quants by GGML's own quantizer where that is installed."""

import pytest
import torch

from x2v_quant.benchmarks.fidelity import ggml
from x2v_quant.benchmarks.fidelity.bits import bits_per_weight
from x2v_quant.benchmarks.fidelity.gguf_file import write_gguf
from x2v_quant.benchmarks.fidelity.peers import GGUF_FORMATS
from x2v_quant.common.decibels import decibels
from x2v_quant.comparing.metrics import energy, snr

gguf = pytest.importorskip("gguf")
needs_ggml = pytest.mark.skipif(ggml.find() is None, reason=ggml.MISSING)
NARROW, WIDE, ODD = "blocks.0.ffn.0", "blocks.0.ffn.2", "blocks.1.ffn.0"
# bits of a type, and the dB that they must at least leave of Gaussian weights
TYPES = {"Q8_0": (8.5, 43), "Q6_K": (6.5625, 33), "Q5_K": (5.5, 27), "Q4_K": (4.5, 21), "Q4_0": (4.5, 20)}


def tensors():
    generator = torch.Generator().manual_seed(0)
    shapes = {f"{NARROW}.weight": (64, 128), f"{WIDE}.weight": (32, 512), f"{ODD}.weight": (1, 160)}
    made = {name: torch.randn(shape, generator=generator).bfloat16() for name, shape in shapes.items()}
    return made | {"head.weight": torch.randn(64, 64, generator=generator).bfloat16(), "head.bias": torch.zeros(64)}


def values(file):
    """name -> (type, float32 values in the shape that ComfyUI-GGUF gives them)."""
    reader, found = gguf.GGUFReader(file), {}
    for tensor in reader.tensors:
        field = reader.get_field(f"comfy.gguf.orig_shape.{tensor.name}")
        shape = [int(size) for size in reversed(tensor.shape)]
        if field is not None:
            assert list(field.types) == [gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.INT32]
            shape = [int(field.parts[place][0]) for place in field.data]
        dequantized = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        found[tensor.name] = tensor.tensor_type.name, torch.from_numpy(dequantized.copy()).reshape(shape)
    return found


@pytest.mark.parametrize(
    "kind", ["Q8_0", "Q4_0", *(pytest.param(k, marks=needs_ggml) for k in ("Q6_K", "Q5_K", "Q4_K"))]
)
def test_a_file_has_every_tensor_in_its_shape(kind, tmp_path):
    true = tensors()
    file = write_gguf(true, {NARROW, WIDE, ODD}, kind, tmp_path / "wan.gguf")
    found = values(file)
    assert found.keys() == true.keys()
    block, (bits, least) = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][0], TYPES[kind]
    for name, tensor in true.items():
        stored, got = found[name]
        layer = name.removesuffix(".weight")
        assert got.shape == tensor.shape
        quantized = layer in (NARROW, WIDE, ODD) and tensor.numel() % block == 0
        assert (stored == kind) == quantized
        if tensor.any():
            assert least < snr(tensor.float(), got) < least + 6 if quantized else snr(tensor.float(), got) > 90
    sizes = [true[f"{layer}.weight"].numel() for layer in (NARROW, WIDE)]
    assert bits_per_weight(file, [NARROW, WIDE], sum(sizes)) == bits


@needs_ggml
@pytest.mark.parametrize("layer", [NARROW, WIDE])
def test_an_imatrix_spares_the_columns_that_matter(layer, tmp_path):
    true = tensors()
    weight = true[f"{layer}.weight"].float()
    importance = torch.ones(weight.shape[1])
    importance[::7] = 100.0
    everybody = {name: torch.ones(true[f"{name}.weight"].shape[1]) for name in (NARROW, WIDE)} | {layer: importance}
    files = [
        write_gguf(true, {NARROW, WIDE}, "Q4_K", tmp_path / f"{name}.gguf", given)
        for name, given in (("plain", None), ("imatrix", everybody))
    ]
    plain, weighed = (values(file)[f"{layer}.weight"][1] for file in files)
    counted = [
        decibels(energy(importance.sqrt() * weight), energy(importance.sqrt() * (weight - got)))
        for got in (plain, weighed)
    ]
    assert counted[1] > counted[0] + 0.5
    assert snr(weight, weighed) < snr(weight, plain)


@needs_ggml
def test_wrong_widths_are_refused_before_the_library_reads_beyond_them():
    kind = gguf.GGMLQuantizationType.Q4_K
    with pytest.raises(ValueError, match="packs 256 columns"):
        ggml.quantize(torch.zeros(4, 300).numpy(), kind)
    with pytest.raises(ValueError, match="importance"):
        ggml.quantize(torch.zeros(4, 256).numpy(), kind, torch.ones(255).numpy())


def test_every_type_is_tried():
    assert {row.type for row in GGUF_FORMATS.values()} == TYPES.keys()
