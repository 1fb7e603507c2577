"""What convert has written loads, or it says why not and leaves nothing: it opens its own result."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from x2v_quant.checkpoints import CheckpointError
from x2v_quant.checkpoints.encodings import DIALECTS
from x2v_quant.cli import main
from x2v_quant.converting import ConvertError
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.converting.tensor_file import TensorFile
from x2v_quant.reports.checkpoint import inspect
from x2v_quant.reports.soundness import UNTRIED

INT8 = Options(format="int8-channel")
PACKAGES = pytest.mark.parametrize("name,package", [("out.safetensors", "file"), ("out", "shards"), ("out", "blocks")])
HEAD = "head.head.weight"


def left(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def broken(monkeypatch):
    """From now on every scale is written as zeros."""
    append = TensorFile.append

    def write(file, name, values):
        append(file, name, torch.zeros_like(values) if name.endswith("weight_scale") else values)

    monkeypatch.setattr(TensorFile, "append", write)


@PACKAGES
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_written_loads(dialect, name, package, source, converted):
    found = inspect(converted(source, name, format="int8-channel", dialect=dialect, package=package))
    assert (found["problems"], found["notes"]) == ([], [])


# what is done to a sound Wan -> words of the refusal, which names the source
CHANGES = {
    "missing": ({HEAD: None}, rf"wan\.safetensors: {HEAD} is missing\."),
    "too many": ({"blocks.0.extra.weight": torch.ones(256, 256)}, r"blocks\.0\.extra\.weight has no place"),
    "half of a norm": ({"blocks.0.norm3.weight": torch.ones(128)}, r"blocks\.0\.norm3\.weight has shape \[128\]"),
}


def test_a_source_that_makes_no_model_is_refused_before_a_search_measures_it(tensors, tmp_path):
    (change, match), seen = CHANGES["too many"], []
    save_file(tensors | change, tmp_path / "wan.safetensors")
    with pytest.raises(CheckpointError, match=match):
        convert(
            tmp_path / "wan.safetensors",
            tmp_path / "out.safetensors",
            Options(target_snr=30.0),
            lambda *step: seen.append(step),
            seen.append,
        )
    assert not seen


@pytest.mark.parametrize("change,match", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_source_that_makes_no_model_is_refused_before_anything_is_written(dialect, change, match, tensors, tmp_path):
    path, units = tmp_path / "wan.safetensors", []
    save_file({key: tensor for key, tensor in (tensors | change).items() if tensor is not None}, path)
    with pytest.raises(CheckpointError, match=match):
        convert(path, tmp_path / "out.safetensors", Options("int8", dialect), lambda *step: units.append(step))
    assert left(tmp_path) == ["wan.safetensors"] and not units


def test_a_model_that_nobody_knows(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({f"stage.{block}.mix.weight": torch.randn(2048, 2048) for block in range(2)}, path)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is no diffusion model that ComfyUI recognises\."):
        convert(path, tmp_path / "out.safetensors", INT8)
    assert left(tmp_path) == ["model.safetensors"]


@PACKAGES
@pytest.mark.parametrize("resume", [False, True])
def test_a_result_that_would_not_load_is_not_kept(resume, name, package, source, tmp_path, broken):
    words = r"would not load, and is not kept: (out|block_0).*weight_scale is zero for .* or dialect, and report this\."
    with pytest.raises(ConvertError, match=words) as error:
        convert(source, tmp_path / name, Options("int8-channel", package=package, resume=resume))
    assert "partial" not in str(error.value)
    assert left(tmp_path) == ["source"]


def test_a_file_is_not_replaced_by_what_would_not_load(source, tmp_path, broken):
    target = tmp_path / "out.safetensors"
    target.write_bytes(b"mine")
    with pytest.raises(ConvertError, match="is not kept"):
        convert(source, target, Options("int8-channel", overwrite=True))
    assert target.read_bytes() == b"mine" and left(tmp_path) == ["out.safetensors", "source"]


@PACKAGES
def test_interrupted_while_it_is_opened(name, package, source, tmp_path, monkeypatch):
    """All of it is written then: going on makes nothing anew."""
    options = {"format": "int8-channel", "package": package}
    calls = []

    def stop(checkpoint):
        calls.append(checkpoint.path.name)
        if calls[1:]:
            raise KeyboardInterrupt
        return outline_of(checkpoint)

    from x2v_quant.reports.soundness import outline_of

    with monkeypatch.context() as patched:
        patched.setattr("x2v_quant.converting.convert.outline_of", stop)
        with pytest.raises(KeyboardInterrupt):
            convert(source, tmp_path / name, Options(**options))
    assert calls == ["wan.safetensors", f"{name}.partial"]
    assert left(tmp_path) == [f"{name}.partial", f"{name}.partial.journal", "source"]
    with monkeypatch.context() as patched:
        patched.setattr(TensorFile, "append", None)
        convert(source, tmp_path / name, Options(**options, resume=True))
    assert left(tmp_path) == [name, "source"]
    assert inspect(tmp_path / name)["problems"] == []


def test_a_long_name_is_opened_too(source, tmp_path, broken):
    name = "x" * 240 + ".safetensors"
    with pytest.raises(ConvertError, match=rf"is not kept: {name}: "):
        convert(source, tmp_path / name, INT8)


@pytest.mark.parametrize("name", ["block_3.safetensors", "non_block.safetensors", "wan-00001-of-00002.safetensors"])
def test_the_name_of_a_part(name, source, tmp_path):
    with pytest.raises(ConvertError, match=f"{name} is the name of a part of a model"):
        convert(source, tmp_path / "new" / name, INT8)
    assert left(tmp_path) == ["source"]


def test_without_comfyui_it_says_what_was_not_looked_at(source, tmp_path, untried, capsys):
    assert main(["convert", str(source), str(tmp_path / "out.safetensors"), "--format", "int8"]) == 0
    assert capsys.readouterr().out.count(f"note: {UNTRIED}") == 1


def test_without_comfyui_nobody_knows_an_unknown_model(tmp_path, untried):
    path = tmp_path / "model.safetensors"
    save_file({f"stage.{block}.mix.weight": torch.randn(2048, 2048) for block in range(2)}, path)
    words = r"model\.safetensors is not a model that is known here.*set COMFYUI_PATH to its folder"
    with pytest.raises(CheckpointError, match=words):
        convert(path, tmp_path / "out.safetensors", INT8)


def test_without_comfyui_it_is_opened_all_the_same(source, tmp_path, untried, broken):
    with pytest.raises(ConvertError, match="is zero for weights that are not"):
        convert(source, tmp_path / "out.safetensors", INT8)


def test_an_unfinished_file_is_no_model(source, tmp_path, converted):
    """It has its size and header from the start: whoever picks it is told, whatever is in it."""
    written = converted(source, format="int8-channel")
    written.rename(tmp_path / "out.safetensors.partial")
    (problem,) = inspect(tmp_path / "out.safetensors.partial")["problems"]
    assert problem["cause"] == "is not a model file"


def test_the_values_are_what_the_file_has(source, converted):
    """Nothing of the result is changed by looking at it."""
    assert load_file(converted(source, format="int8-channel"))[HEAD].equal(load_file(source)[HEAD])
