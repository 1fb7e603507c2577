"""PyTorch files: tensors, and nothing that could run."""

import argparse
import os
import pickle
import time
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from x2v_quant.checkpoints import CheckpointError, open_checkpoint, torch_file
from x2v_quant.common import limits


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
    with pytest.raises(CheckpointError, match=r"model.pth contains pickled Python objects.* \.safetensors"):
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
    with pytest.raises(CheckpointError, match=r"model.pth is (cut off|damaged|empty)"):
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


QUANTIZED = {
    "quint8": lambda: torch.quantize_per_tensor(torch.ones(4, 8), 0.1, 3, torch.quint8),
    "qint8": lambda: torch.quantize_per_channel(torch.ones(4, 8), torch.ones(4), torch.zeros(4), 0, torch.qint8),
    "qint32": lambda: torch.quantize_per_tensor(torch.ones(4, 8), 0.1, 3, torch.qint32),
}


@pytest.mark.parametrize("end", ["weight", "qzeros", "comfy_quant"])
@pytest.mark.parametrize("kind", QUANTIZED)
def test_what_pytorch_has_quantized_is_refused_in_a_process_that_goes_on(kind, end, wan, tmp_path):
    """Reading the bytes of such a tensor ends it."""
    path = tmp_path / "wan.pth"
    torch.save({**wan(), f"blocks.0.self_attn.v.{end}": QUANTIZED[kind]()}, path)
    words = rf"wan\.pth: blocks\.0\.self_attn\.v\.{end} is quantized by PyTorch itself \({kind}\), which is not read"
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(path)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.float64, torch.complex64, torch.uint16, torch.float8_e8m0fnu], ids=str
)
def test_zero_points_of_any_type_are_looked_at_as_what_they_are(dtype, wan, write):
    """No codes go with them: they are refused, and only int32 ones are told by their beginning."""
    path = write({**wan(), "blocks.0.self_attn.v.qzeros": torch.zeros(3, 5).to(dtype)}, "wan.pth")
    assert open_checkpoint(path).tensors["blocks.0.self_attn.v.qzeros"].start == b""


def test_a_thing_in_itself_ends(wan, write):
    data = {"model": wan()}
    data["again"] = data
    data["list"] = [data, [data]]
    open_checkpoint(write(data, "model.pth")).require("dit")


def test_what_cannot_be_read_is_named(wan, write):
    with pytest.raises(CheckpointError, match=r"pickled Python objects \(\w+\.getcwd\), which can run code"):
        open_checkpoint(write({"model": wan(), "x": Runs()}, "model.pth"))


def test_what_stands_for_harmless_classes_does_nothing(wan, write):
    """And what others let pickles name in this process is theirs again afterwards."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([Path])
    try:
        path = write({"model": wan(), "args": argparse.Namespace(lr=0.1)}, "model.pth")
        assert open_checkpoint(path).model == "Wan 2.1 t2v"
        assert set(torch.serialization.get_safe_globals()) == {*before, Path}
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def zipped(path, entries, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_a_file_that_inflates_is_refused_before_it_does(tmp_path):
    """3 MB that became 3 GB of memory; here 100 MB."""
    path = zipped(tmp_path / "bomb.pth", {"bomb/data.pkl": bytes(100_000_000)}, zipfile.ZIP_DEFLATED)
    begun = time.process_time()
    with pytest.raises(
        CheckpointError, match=r"bomb\.pth is .* kB large and says that it contains 100 MB, which PyTorch"
    ):
        open_checkpoint(path)
    assert time.process_time() - begun < 0.5


def test_a_file_of_more_names_than_any(tmp_path):
    path = zipped(tmp_path / "names.pth", {"names/data.pkl": bytes(limits.PICKLE_BYTES + 1)})
    with pytest.raises(CheckpointError, match=r"has 16\.0 MB of names and other things .* at most 16\.0 MB\. Get the"):
        open_checkpoint(path)


MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # what a file of before PyTorch 1.6 begins with


@pytest.mark.parametrize("begin", [b"", MAGIC, MAGIC + b"\x80\x02M\xe9\x03."], ids=["pickle", "magic", "version"])
def test_an_old_file_of_more_names_than_any(begin, tmp_path, monkeypatch):
    """40 MB of empty lists took 43 seconds and 3.6 GB."""
    monkeypatch.setattr(limits, "PICKLE_BYTES", 100_000)
    (tmp_path / "old.pth").write_bytes(begin + b"\x80\x02" + b"]" * 5_000_000 + b"N.")
    begun = time.process_time()
    with pytest.raises(
        CheckpointError, match=r"old\.pth has .* kB of names and other things .* at most 100 kB\. Get the"
    ):
        open_checkpoint(tmp_path / "old.pth")
    assert time.process_time() - begun < 1


def test_the_tensors_of_an_old_file_are_no_names(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "PICKLE_BYTES", 10_000)
    tensors = {"a": torch.arange(100_000), "b": torch.ones(3, dtype=torch.bfloat16)}
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    read = torch_file.read_tensors(tmp_path / "old.pth")
    assert all(torch.equal(tensors[key], read[key]) for key in tensors)


def test_a_machine_without_memory_is_no_damage(tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    torch.save({"a": torch.zeros(1)}, tmp_path / "model.pth")
    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(MemoryError):
        open_checkpoint(tmp_path / "model.pth")


def test_an_older_torch_reads_no_pickles(tmp_path, monkeypatch):
    torch.save({"a": torch.zeros(1)}, tmp_path / "model.pth")
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.5.1+cu124"))
    with pytest.raises(CheckpointError, match=r"torch 2\.5\.1\+cu124 may run code .* Update torch to 2\.6 or later"):
        open_checkpoint(tmp_path / "model.pth")


@pytest.mark.parametrize("version,safe", [("2.6.0", True), ("2.11.0+cpu", True), ("2.10.0a0", True), ("1.13.1", False)])
def test_which_torch_is_safe(version, safe):
    assert (torch.torch_version.TorchVersion(version) >= torch_file.SAFE_TORCH) is safe


def test_a_short_record_is_told_before_the_next_one_is_taken_for_its_end(wan, tmp_path):
    """Mapped, torch reads on; read whole, as ComfyUI does, it raises."""
    whole, short = tmp_path / "whole.pth", tmp_path / "short.pth"
    torch.save({"long.bias": torch.ones(999), **wan()}, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(short, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            new.writestr(entry, content[:1998] if len(content) == 3996 else content)
    assert "long.bias" in open_checkpoint(whole).tensors
    with pytest.raises(CheckpointError, match=r"short.pth: long.bias is cut off inside the file. Download it again."):
        open_checkpoint(short)


def test_tensors_that_share_a_record_are_whole(wan, tmp_path):
    path = tmp_path / "model.pth"
    both = torch.ones(8, 999)
    torch.save({**wan(), "all.weight": both, "one.weight": both[1:3], "none.weight": both[:0].clone()}, path)
    assert {"all.weight", "one.weight", "none.weight"} <= open_checkpoint(path).tensors.keys()


@pytest.mark.parametrize(
    "names,read", [(("model", "ema"), "ema"), (("net", "model"), None), (("ema", "model_ema"), None)]
)
def test_one_table_under_two_names(names, read, wan, write):
    """torch.save writes a table once that is the model and, at the first step, its average."""
    stored = wan()
    checkpoint = open_checkpoint(write(dict.fromkeys(names, stored), "model.pth"))
    checkpoint.require("dit")
    said = [note for note in checkpoint.notes if "average of the weights is read" in note]
    assert [note.rpartition(" ")[2] for note in said] == ([read] if read else [])
    assert said == [note for note in checkpoint.load().notes if "average" in note]
