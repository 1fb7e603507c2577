"""The weights that come out: the very codes of the file, float32 scales, and what LightX2V's converter meant."""

import json

import pytest
import safetensors.torch
import torch

from x2v_quant.checkpoints import CheckpointError, open_checkpoint

T5 = "models_t5_umt5-xxl-enc-{}.pth"
Q = "blocks.1.self_attn.q"


def raw(path):
    """Every tensor of a fixture as the file has it."""
    if path.is_dir():
        return {k: t for file in path.glob("*.safetensors") for k, t in safetensors.torch.load_file(file).items()}
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    "name,scale,layers",
    [
        ("wan_t2v_int8_blocks", "weight_scale", 20),
        ("wan_t2v_fp8.safetensors", "weight_scale", 10),
        ("wan_t2v_fp8_comfyui.safetensors", "scale_weight", 10),
        (T5.format("int8"), "weight_scale", 21),
        (T5.format("fp8"), "weight_scale", 21),
    ],
)
def test_dequantized_weights_are_exactly_what_the_converter_wrote(name, scale, layers, fixtures):
    file = raw(fixtures / name)
    checkpoint = open_checkpoint(fixtures / name)
    assert sum(checkpoint.formats.values()) == len(checkpoint.layers) == layers
    quantized = checkpoint.load().quantized
    assert quantized.keys() == checkpoint.layers.keys()
    for layer, stored in quantized.items():
        format_name, (codes, scales) = stored.format, stored.tensors.values()
        key = checkpoint.layers[layer].weight_key.removesuffix(".weight")
        assert format_name == ("int8-channel" if codes.dtype == torch.int8 else "fp8-channel")
        assert scales.shape == (codes.shape[0], 1)
        expected = file[f"{key}.weight"].float() * file[f"{key}.{scale}"].float()
        assert torch.equal(codes.float() * scales.float(), expected)


def test_everything_else_is_untouched(fixtures):
    file = raw(fixtures / "wan_t2v_int8_blocks")
    weights = open_checkpoint(fixtures / "wan_t2v_int8_blocks").load()
    assert weights.plain.keys() == {k for k, t in file.items() if t.dtype != torch.int8 and not k.endswith("_scale")}
    for name, tensor in weights.plain.items():
        assert tensor.dtype == file[name].dtype
        assert torch.equal(tensor, file[name])


@pytest.mark.parametrize("format_name", ["int8-channel", "fp8-channel"])
def test_codes_are_the_very_tensors_that_were_read(format_name, wan, opened):
    given = wan(format_name)
    checkpoint = opened(given)
    paths = []

    def read(path):
        paths.append(path)
        return given

    weights = checkpoint.load(read)
    assert paths == checkpoint.files
    for layer, stored in weights.quantized.items():
        codes = stored.tensors["codes"]
        assert codes is given[f"{layer}.weight"]
    assert all(tensor is given[name] for name, tensor in weights.plain.items())


def test_split_codes_are_views(fixtures):
    file = fixtures / "models_clip_open-clip-xlm-roberta-large-vit-huge-14-int8.pth"
    given = raw(file)
    weights = open_checkpoint(file).load(lambda path: given)
    whole = given["visual.transformer.0.attn.to_qkv.weight"]
    for i, name in enumerate("qkv"):
        codes = weights.quantized[f"vision_model.encoder.layers.0.self_attn.{name}_proj"].tensors["codes"]
        assert codes.data_ptr() == whole.data_ptr() + i * 64 * 64
        assert codes.is_contiguous()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_scale_that_is_no_scale_is_refused(value, wan, opened):
    tensors = wan()
    tensors[f"{Q}.weight_scale"][3] = value
    checkpoint = opened(tensors)
    assert checkpoint.problems == []
    with pytest.raises(CheckpointError, match=f"{Q}.weight_scale has a scale that is negative or not a number"):
        checkpoint.load()


def test_a_scale_of_zero_is_a_row_of_zeros(wan, opened):
    tensors = wan()
    tensors[f"{Q}.weight_scale"][3] = 0.0
    tensors[f"{Q}.weight"][3] = 0
    assert opened(tensors).load().quantized[Q].tensors["scale"][3] == 0


def test_metadata_is_handed_on(wan, opened):
    assert opened(wan(), {"config": "{}"}).load().metadata == {"config": "{}"}


def test_opening_reads_no_weights(wan, write):
    """A hole of 4 GB where the weights are, more than a test may take: headers are enough."""
    size = 2**32
    header = {
        f"{Q}.weight": {"dtype": "I8", "shape": [2**16, 2**16], "data_offsets": [0, size]},
        f"{Q}.weight_scale": {"dtype": "F32", "shape": [2**16], "data_offsets": [size, size + 2**18]},
        "head.modulation": {"dtype": "F32", "shape": [0], "data_offsets": [size + 2**18, size + 2**18]},
    }
    path = write(wan())
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + size + 2**18)
    checkpoint = open_checkpoint(path)
    assert checkpoint.layers[Q].shape == (2**16, 2**16)
    assert checkpoint.problems == []
