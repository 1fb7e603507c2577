"""PyTorch files: tensors, and nothing that could run."""

import os
import pickle

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from x2v_quant.checkpoints import CheckpointError, open_checkpoint


class Runs:
    def __reduce__(self):
        return os.getcwd, ()


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"state_dict": t, "epoch": 3}, lambda t: {"model": t}])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("ending", [".pth", ".pt"])
def test_a_state_dict_however_wrapped(wrap, zipped, ending, wan, tmp_path):
    path = tmp_path / f"model{ending}"
    torch.save(wrap(wan()), path, _use_new_zipfile_serialization=zipped)
    checkpoint = open_checkpoint(path)
    checkpoint.require("dit")
    codes = checkpoint.load().quantized["blocks.0.self_attn.q"].tensors["codes"]
    assert torch.equal(codes, wan()["blocks.0.self_attn.q.weight"])


def test_values_that_are_no_tensors_are_left_out(wan, write):
    checkpoint = open_checkpoint(write({**wan(), "step": 3}, "model.pth"))
    assert "step" not in checkpoint.tensors


def test_weights_stay_on_disk(wan, write):
    """Opened twice, written between: a mapped tensor shows the file's new bytes."""
    path = write(wan(), "model.pth")
    codes = open_checkpoint(path).load().quantized["blocks.0.self_attn.q"].tensors["codes"]
    place = path.read_bytes().index(bytes(codes.view(torch.uint8).flatten().tolist()))
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\x55")
    assert codes[0, 0] == 0x55


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickled_objects_are_refused(zipped, wan, tmp_path):
    path = tmp_path / "model.pth"
    torch.save({**wan(), "x": Runs()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"model.pth holds pickled Python objects.* \.safetensors"):
        open_checkpoint(path)


@pytest.mark.parametrize("data", [[1, 2], torch.zeros(3), {1: torch.zeros(2)}, {"a\nb": torch.zeros(2)}])
def test_anything_but_named_tensors_is_refused(data, write):
    with pytest.raises(CheckpointError, match="no table of named tensors"):
        open_checkpoint(write(data, "model.pth"))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(share, wan, write):
    path = write(wan(), "model.pth")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match=r"model.pth is (cut off|damaged)"):
        open_checkpoint(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda b: pickle.dumps(b, protocol=2))))
def test_garbage_gives_nothing_but_checkpoint_errors(data, tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        open_checkpoint(path)


WITHOUT_DATA = {
    "sparse": lambda: torch.eye(8).to(torch.int8).to_sparse(),
    "sparse by rows": lambda: torch.eye(8).to_sparse_csr(),
    "no data": lambda: torch.empty(8, 8, dtype=torch.int8, device="meta"),
    "4 TB of one value": lambda: torch.zeros(1, dtype=torch.int32).expand(2**20, 2**20),
}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("make", WITHOUT_DATA.values(), ids=WITHOUT_DATA)
def test_a_tensor_without_its_own_data_is_refused(make, wan, write):
    path = write({**wan(), "blocks.0.self_attn.v.weight": make()}, "wan.pth")
    with pytest.raises(CheckpointError, match=r"wan\.pth: blocks\.0\.self_attn\.v\.weight is sparse, or has no data"):
        open_checkpoint(path)
