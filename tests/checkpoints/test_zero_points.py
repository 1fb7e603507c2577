"""4 bits with zero points as other tools write them: the same weights, bit for bit, whatever a file leaves unsaid."""

import json

import pytest
import torch
from one_layer import DIT, Q, put
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks import quantize_int4
from x2v_quant.checkpoints import CheckpointError, open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI, X2V
from x2v_quant.common.row_slice import RowSlice
from x2v_quant.converting.dialects import layer_specs, layer_tensors

N, K = 64, 512
GROUPS = (32, 64, 128)


def weight(seed=0):
    return torch.randn((N, K), generator=torch.Generator().manual_seed(seed)) * 0.02


def meant(group):
    """What `quantize_int4.asymmetric` stands for, float32."""
    codes, scale, zeros = quantize_int4.asymmetric(weight(), group)
    apart = codes.view(N, -1, group) - zeros.unsqueeze(2)
    return (apart.float() * scale.float().unsqueeze(2)).view(N, K)


def read(path):
    checkpoint = open_checkpoint(path)
    checkpoint.require("dit")
    (stored,) = checkpoint.load().quantized.values()
    assert checkpoint.formats == {stored.format: 1}
    return stored


def dequantized(stored):
    return stored.wrap(torch.float32).dequantize()


WRITERS = {
    "autoawq": quantize_int4.autoawq,
    "gptq": quantize_int4.gptq_asymmetric,
    "gptq of version 2": lambda w, group: quantize_int4.gptq_asymmetric(w, group, version=2),
}


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_every_weight_is_code_minus_zero_point_times_scale_exactly(write, group, tmp_path):
    stored = read(put(tmp_path / "model.safetensors", write(weight(), group)))
    assert stored.format == ("awq-w4a16" if group == 64 else f"awq-w4a16-{group}")
    assert torch.equal(dequantized(stored), meant(group))


def test_a_pytorch_file_tells_as_much(tmp_path):
    layer = quantize_int4.gptq_asymmetric(weight())
    torch.save({**DIT, **{f"{Q}.{end}": tensor for end, tensor in layer.items()}}, tmp_path / "model.pth")
    assert torch.equal(dequantized(read(tmp_path / "model.pth")), meant(128))


@pytest.mark.parametrize("group", GROUPS)
def test_symmetric_files_of_other_groups_are_read_too(group, tmp_path):
    codes, scale = quantize_int4.codes_and_scale(weight(), group)
    layer = {
        "qweight": quantize_int4._words(codes).t().contiguous(),
        "scales": scale.t().contiguous(),
        "qzeros": torch.full((K // group, N // 8), quantize_int4.V1_ZEROS, dtype=torch.int32),
    }
    stored = read(put(tmp_path / "model.safetensors", layer))
    assert stored.format == {32: "awq-w4a16-32", 64: "awq-w4a16", 128: "int4-g128"}[group]
    expected = (codes.view(N, -1, group).float() * scale.float().unsqueeze(2)).view(N, K)
    assert torch.equal(dequantized(stored), expected)


@pytest.mark.parametrize("group", GROUPS)
def test_this_packs_own_dialect_has_room_for_every_bit(group, tmp_path):
    stored = read(put(tmp_path / "autoawq.safetensors", quantize_int4.autoawq(weight(), group)))
    again = read(put(tmp_path / "ours.safetensors", layer_tensors(stored, X2V)))
    assert again.format == stored.format
    for name, tensor in stored.tensors.items():
        assert again.tensors[name].dtype == tensor.dtype
        assert torch.equal(again.tensors[name], tensor)
        assert tensor.is_contiguous()
    assert load_file(tmp_path / "ours.safetensors")[f"{Q}.weight_zeros"].shape == (K // group, N)


def test_rows_that_are_cut_off_have_their_own_scales_and_zeros(tmp_path):
    stored = read(put(tmp_path / "model.safetensors", quantize_int4.autoawq(weight())))
    third = stored.rows([RowSlice(1, 4)])
    assert torch.equal(dequantized(third), meant(128)[16:32])


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_comfyuis_dialect_has_both_in_the_type_that_its_header_says(write, tmp_path):
    """Bytes of float16 behind a header that says bfloat16 would be noise."""
    stored = read(put(tmp_path / "model.safetensors", write(weight(), 64)))
    written, told = layer_tensors(stored, COMFYUI), layer_specs(stored.format, stored.shape, COMFYUI)
    assert {end: tensor.dtype for end, tensor in written.items()} == {end: spec.dtype for end, spec in told.items()}
    assert written["weight_scale"].dtype is written["weight_zeros"].dtype is torch.bfloat16
    again = dequantized(read(put(tmp_path / "again.safetensors", written)))
    # both are 1/256 of themselves off at most, and eight steps
    step = stored.tensors["scale"].float().repeat_interleave(64, 1)
    assert ((again - meant(64)).abs() <= step * 16 / 256).all()


@pytest.mark.parametrize("group", GROUPS)
def test_a_state_dict_has_both_in_one_type_where_core_reads_it(group, tmp_path):
    stored = read(put(tmp_path / "model.safetensors", quantize_int4.autoawq(weight(), group)))
    saved = stored.wrap(torch.bfloat16).state_dict("weight")
    dtypes = saved["weight_scale"].dtype, saved["weight_zeros"].dtype
    assert dtypes == ((torch.float16, torch.float16) if group == 64 else (torch.float16, torch.float32))


LAYERS = [f"blocks.{block}.self_attn.{name}" for block in (0, 1) for name in "qkv"]


def shifted(by):
    """Weights that are `by` steps off zero in the mean, and what asymmetric quantization makes of them is not: so the
    mean of one layer tells nothing."""
    codes, scale, zeros = quantize_int4.asymmetric(weight(), 128)
    return (codes + by).clamp(0, 15), scale, zeros


def gptq_file(path, version, shifts, metadata=None, symmetric=False):
    """A file of LAYERS, each with its codes moved by so many steps. Returns the zero points that are meant."""
    tensors = {"head.modulation": torch.zeros(1, 2, 8)}
    for layer, by in zip(LAYERS, shifts, strict=True):
        codes, scale, zeros = shifted(by)
        zeros = torch.full_like(zeros, 8) if symmetric else zeros
        stored = zeros.t() - (1 if version == 1 else 0) & 15
        tensors[f"{layer}.qweight"] = quantize_int4._words(codes - 8).t().contiguous()
        tensors[f"{layer}.scales"] = scale.t().contiguous()
        tensors[f"{layer}.qzeros"] = quantize_int4._words(stored - 8)
    if path.suffix == ".pth":
        torch.save(tensors, path)
    else:
        save_file(tensors, path, metadata)
    return open_checkpoint(path)


def zero_points(checkpoint):
    """Of the first layer, among the codes."""
    found = checkpoint.load().quantized[LAYERS[0]].tensors
    return 8 - found["zeros"].float() / found["scale"].float()


TWO_ODD = (0, 0, 0, 0, 1, 1)
AMBIGUOUS = (0, 0, 0, 1, 1, 1)


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("version", [1, 2])
def test_layers_vote_on_the_version_together(version, ending, tmp_path):
    """Two are a step off, which alone would be taken for the other version."""
    for shifts in (TWO_ODD, tuple(reversed(TWO_ODD)), (0, -1, 0, 0, -1, 0)):
        checkpoint = gptq_file(tmp_path / f"model{ending}", version, shifts)
        assert torch.equal(zero_points(checkpoint), quantize_int4.asymmetric(weight(), 128)[2].float())


@pytest.mark.parametrize("version", [1, 2])
def test_a_symmetric_layer_needs_no_vote(version, tmp_path):
    """Whatever its mean: here every layer is a step off."""
    checkpoint = gptq_file(tmp_path / "model.safetensors", version, (1, 1, 1, -1, -1, -1), symmetric=True)
    assert set(checkpoint.formats) == {"int4-g128"}
    codes, scale = quantize_int4.codes_and_scale(weight() + 0.01, 32)
    layer = {
        "qweight": quantize_int4._words(codes).t().contiguous(),
        "scales": scale.t().contiguous(),
        "qzeros": quantize_int4._words(torch.full((K // 32, N), -1 if version == 1 else 0)),
    }
    stored = read(put(tmp_path / "narrow.safetensors", layer))
    expected = (codes.view(N, -1, 32).float() * scale.float().unsqueeze(2)).view(N, K)
    assert torch.equal(dequantized(stored), expected)


def configs():
    for version, name in ((1, "gptq"), (2, "gptq_v2")):
        yield version, {"checkpoint_format": name}, {}
        yield version, {"quantize_config": json.dumps({"bits": 4, "checkpoint_format": name})}, {}
        yield version, None, {"quantize_config.json": json.dumps({"checkpoint_format": name})}
        yield version, None, {"config.json": json.dumps({"quantization_config": {"checkpoint_format": name}})}


CONFIGS = list(configs())
SAYS = ("metadata", "config in metadata", "quantize_config.json", "config.json")


@pytest.mark.parametrize(
    "version,metadata,beside", CONFIGS, ids=[f"{word}-{version}" for version in (1, 2) for word in SAYS]
)
def test_a_configuration_says_it_where_layers_do_not(version, metadata, beside, tmp_path):
    for name, text in beside.items():
        (tmp_path / name).write_text(text)
    checkpoint = gptq_file(tmp_path / "model.safetensors", version, AMBIGUOUS, metadata)
    assert torch.equal(zero_points(checkpoint), quantize_int4.asymmetric(weight(), 128)[2].float())


SILENT = {
    "cut": "{",
    "deep": "[" * 5000,
    "list": "[]",
    "number": '{"checkpoint_format": 2}',
    "nested": '{"quantization_config": []}',
    "no text": "\xff",
}


@pytest.mark.parametrize("text", SILENT.values(), ids=SILENT)
def test_a_configuration_that_says_nothing_is_passed_over(text, tmp_path):
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    checkpoint = gptq_file(tmp_path / "model.safetensors", 2, TWO_ODD)
    assert torch.equal(zero_points(checkpoint), quantize_int4.asymmetric(weight(), 128)[2].float())


def test_a_file_that_does_not_tell_is_refused(tmp_path):
    checkpoint = gptq_file(tmp_path / "model.safetensors", 1, AMBIGUOUS)
    words = r"^model\.safetensors: blocks\.0\.self_attn\.k\.qzeros does not tell whether .* quantize_config\.json"
    with pytest.raises(CheckpointError, match=words):
        checkpoint.load()


OWN = "Correct that entry, or get the model in another format"
OTHERS = "If config.json belongs to another model, move it to another folder; if not, correct that entry in it"


@pytest.mark.parametrize(
    "metadata,where,remedy",
    [({"checkpoint_format": "gptq"}, "its metadata", OWN), (None, "config.json", OTHERS)],
    ids=["metadata", "beside"],
)
def test_a_configuration_that_the_layers_contradict_is_refused(metadata, where, remedy, tmp_path):
    (tmp_path / "config.json").write_text('{"quantization_config": {"checkpoint_format": "gptq"}}')
    checkpoint = gptq_file(tmp_path / "model.safetensors", 2, TWO_ODD, metadata)
    words = rf"zero points of gptq_v2, though {where} says gptq \(checkpoint_format\)\. {remedy}\."
    with pytest.raises(CheckpointError, match=words):
        checkpoint.load()
