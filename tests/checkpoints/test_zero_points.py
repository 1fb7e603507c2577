"""4 bits with zero points as other tools write them: the same weights, bit for bit, whatever a file leaves unsaid."""

import pytest
import torch
from one_layer import DIT, Q, put
from safetensors.torch import load_file

from x2v_quant.benchmarks import quantize_int4
from x2v_quant.checkpoints import open_checkpoint
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
