"""A quantized MODEL saved in each dialect loads as the model that it was."""

import comfy.quant_ops
import comfy.sd
import pytest
import torch
from distance import distance
from older_comfyui import read_by_core

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI, DIALECTS, LIGHTX2V, X2V
from x2v_quant.converting import ConvertError
from x2v_quant.converting.dialects import choices, writable
from x2v_quant.core.features import SINCE
from x2v_quant.formats import FORMATS
from x2v_quant.loading.dit import load_dit
from x2v_quant.nodes.save import _not_read_here
from x2v_quant.quantizing import QuantizeError
from x2v_quant.quantizing.saving import save_model
from x2v_quant.schemes import SchemeChoice
from x2v_quant.writing import WriteError, only_writer

pytestmark = pytest.mark.usefixtures("inference")
FP32 = SchemeChoice(compute_dtype="fp32")
PLAIN = [name for name, row in FORMATS.items() if row.family == name]
CASES = [(dialect, name) for dialect in DIALECTS for name in PLAIN if name in writable(dialect)]


@pytest.mark.parametrize("dialect,format_name", CASES)
def test_what_is_saved_is_what_was_quantized(dialect, format_name, dense, quantize, sample, tmp_path):
    model = quantize(dense(), format_name)
    path = tmp_path / "model.safetensors"
    nbytes = save_model(model, path, dialect)
    assert path.stat().st_size == nbytes
    loaded = load_dit(str(path), FP32)
    # a weight of one scale and no calibrated input comes back as one with a scale per row
    assert distance(sample(loaded), sample(model)) <= (0.03 if format_name == "fp8-tensor" else 1e-5)


@pytest.mark.parametrize("format_name", read_by_core(choices(COMFYUI)))
def test_comfyuis_dialect_is_for_its_own_loader(format_name, dense, quantize, sample, tmp_path):
    model = quantize(dense(), format_name)
    path = tmp_path / "model.safetensors"
    save_model(model, path, COMFYUI)
    core = sample(comfy.sd.load_diffusion_model(str(path)))
    # docs/formats-and-schemes.md says how far rotated int4 is off; a code of an activation is a step of 1/7, and which
    # one it is can depend on the order of a sum
    far, near = (0.5, 0.15) if format_name == "convrot-w4a4" else (0.3, 0.05)
    assert distance(core, sample(dense())) < far
    assert distance(core, sample(load_dit(str(path), FP32))) < near


@pytest.mark.parametrize("format_name", [name for name in choices(COMFYUI) if FORMATS[name].marker in SINCE])
def test_a_note_says_which_comfyui_reads_what_this_one_cannot(format_name, dense, quantize, monkeypatch):
    model = quantize(dense(), format_name)
    monkeypatch.setattr(comfy.quant_ops, "QUANT_ALGOS", {"float8_e4m3fn": {}})
    release = "{}.{}".format(*SINCE[FORMATS[format_name].marker])
    assert f"those of {release} and newer do" in _not_read_here(COMFYUI, model)
    assert _not_read_here(X2V, model) == ""
    monkeypatch.setattr(comfy.quant_ops, "QUANT_ALGOS", dict.fromkeys(SINCE))
    assert _not_read_here(COMFYUI, model) == ""


def test_a_lora_is_in_the_file(dense, quantize, with_lora, sample, tmp_path):
    model = with_lora(quantize(dense()))
    path = tmp_path / "model.safetensors"
    save_model(model, path, LIGHTX2V)
    expected, saved, without = sample(model), sample(load_dit(str(path), FP32)), sample(quantize(dense()))
    assert distance(saved, expected) < 0.02 < 0.2 < distance(without, expected)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_norm_that_is_no_number_is_not_saved(dialect, dense, quantize, tmp_path):
    model = quantize(dense())
    model.model.diffusion_model.blocks[0].norm3.weight.data[1] = float("nan")
    with pytest.raises(ConvertError, match=r"^model\.safetensors: \S*blocks\.0\.norm3\.weight contains NaN\. "):
        save_model(model, tmp_path / "model.safetensors", dialect)
    assert not list(tmp_path.iterdir())


def test_the_model_goes_on_as_it_was(dense, quantize, with_lora, sample, tmp_path):
    model = with_lora(quantize(dense()))
    before = sample(model)
    save_model(model, tmp_path / "model.safetensors", X2V)
    assert torch.equal(sample(model), before)


def test_blocks_and_shards(dense, quantize, sample, tmp_path):
    model = quantize(dense())
    for package in ("blocks", "shards"):
        save_model(model, tmp_path / package, LIGHTX2V, package)
        assert distance(sample(load_dit(str(tmp_path / package), FP32)), sample(model)) <= 1e-5
    assert (tmp_path / "blocks" / "block_0.safetensors").is_file()


def test_an_unquantized_model_is_saved_as_it_is(dense, dense_file, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(dense(), path, LIGHTX2V)
    one, two = (open_checkpoint(file) for file in (dense_file, path))
    assert {key: info.shape for key, info in one.tensors.items()} == {
        key: info.shape for key, info in two.tensors.items()
    }


def test_a_file_that_is_there_is_replaced_only_whole(dense, quantize, tmp_path, monkeypatch):
    from x2v_quant.quantizing import saving_units

    path = tmp_path / "model.safetensors"
    path.write_bytes(b"mine")
    monkeypatch.setattr(saving_units, "layer_tensors", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_model(quantize(dense()), path, LIGHTX2V)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    assert path.read_bytes() == b"mine"


def test_a_format_that_the_dialect_does_not_have_is_refused(dense, quantize, tmp_path):
    with pytest.raises(QuantizeError, match="is fp8-channel, which files for comfyui do not have"):
        save_model(quantize(dense(), "fp8-channel"), tmp_path / "model.safetensors", COMFYUI)


def test_a_place_that_cannot_be_written(dense, quantize, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConvertError, match="is no folder"):
        save_model(quantize(dense()), tmp_path / "file" / "model.safetensors", LIGHTX2V)


@pytest.mark.parametrize("package,name", [("file", "model.safetensors"), ("shards", "model")])
def test_another_server_or_a_conversion_is_writing_it(package, name, dense, quantize, tmp_path):
    with only_writer(tmp_path / name), pytest.raises(WriteError, match="is being written by another run or server"):
        save_model(quantize(dense()), tmp_path / name, LIGHTX2V, package)
    assert not list(tmp_path.iterdir())


def test_what_another_server_has_saved_meanwhile_is_kept(dense, quantize, tmp_path):
    """Two servers that counted the same files take the same number."""
    path = tmp_path / "model.safetensors"
    with pytest.raises(ConvertError, match=r"is there already, since a moment ago\. Choose another name"):
        save_model(quantize(dense()), path, LIGHTX2V, progress=lambda *_: path.write_bytes(b"theirs"))
    assert path.read_bytes() == b"theirs" and list(tmp_path.iterdir()) == [path]
