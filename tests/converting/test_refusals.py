"""Bad input: one or two sentences that name file, cause and remedy, and the source as it was."""

import hashlib
import os
import shutil
import sys

import pytest
import torch
from safetensors.torch import save_file

from x2v_quant.checkpoints import CheckpointError
from x2v_quant.cli import main
from x2v_quant.converting import ConvertError, command
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.layer_rules import RuleError, parse_overrides
from x2v_quant.writing import WriteError, beside, only_writer

LINKS = pytest.mark.skipif(os.name == "nt", reason="links take a right on Windows")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def refused(source, tmp_path):
    """refused(error, match, source=..., target="out.safetensors", **options): it is refused, in two sentences at most,
    with the source as it was and nothing beside it."""

    def check(error, match, source=source, target="out.safetensors", **options):
        before, there = digest(source), set(tmp_path.rglob("*"))
        with pytest.raises(error, match=match) as caught:
            convert(source, tmp_path / target, Options(**{"format": "int8-channel", **options}))
        text = str(caught.value)
        assert text.endswith((".", ".)", "?")) and text.count(". ") <= 2 and "\n" not in text
        assert digest(source) == before
        assert set(tmp_path.rglob("*")) == there

    return check


@pytest.mark.parametrize("value,word", [(float("nan"), "NaN"), (float("inf"), "infinity")])
@pytest.mark.parametrize("format_name", ["int8-channel", "fp8-tensor", "nvfp4", "mxfp8", "int4-g128"])
def test_weights_that_are_no_numbers(value, word, format_name, tensors, tmp_path, refused):
    key = "blocks.1.ffn.2.weight"
    damaged = tensors[key].clone()
    damaged[-1, 3] = value
    path = tmp_path / "damaged.safetensors"
    save_file({**tensors, key: damaged}, path)
    refused(ConvertError, f"damaged.safetensors: {key} contains {word}. The model is damaged", path, format=format_name)


def test_the_source_as_target(source, refused):
    refused(ConvertError, "is the source itself, which is never changed", target=str(source), overwrite=True)


def test_the_folder_of_the_source_as_target(source, refused):
    refused(ConvertError, "is the source itself", target=str(source.parent), package="shards")


def test_a_file_that_is_there(tmp_path, refused):
    (tmp_path / "out.safetensors").write_bytes(b"mine")
    refused(ConvertError, "is there already: choose another name, or say --overwrite")
    assert (tmp_path / "out.safetensors").read_bytes() == b"mine"


def test_overwrite_replaces_it(source, tmp_path, converted):
    (tmp_path / "out.safetensors").write_bytes(b"mine")
    assert len(converted(source, format="int8-channel", overwrite=True).read_bytes()) > 1000


def test_a_name_that_is_no_model(refused):
    refused(ConvertError, "out.pth is not a name for a model file: end it in .safetensors", target="out.pth")


def test_a_folder_that_is_not_empty(tmp_path, refused):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    refused(ConvertError, "is a folder that is there already", target="out", package="shards")


def test_no_space(source, refused, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 5, 5))
    refused(ConvertError, "does not fit on its disk: .* MB are needed, 5 bytes are free. Make room")


@LINKS
def test_the_source_under_another_name(source, tmp_path, refused):
    (tmp_path / "link.safetensors").symlink_to(source)
    refused(ConvertError, "is the source itself", target="link.safetensors", overwrite=True)


def test_a_lora_that_is_merged(source, tmp_path, refused):
    lora = tmp_path / "lora.safetensors"
    lora.write_bytes(b"mine")
    refused(ConvertError, "is the source itself", target=lora.name, overwrite=True, loras=((lora, 1.0),))


def test_among_the_files_of_the_source(tmp_path, converted, source):
    folder = converted(source, "blocks", format="int8-channel", package="blocks")
    before = sorted(folder.iterdir())
    with pytest.raises(ConvertError, match="would lie among the files of the source: choose a place outside blocks/"):
        converted(folder, "blocks/out.safetensors", format="int8-channel")
    assert sorted(folder.iterdir()) == before


@LINKS
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("leads", ["loop.safetensors", "nowhere", "mine"])
def test_links_as_target(leads, overwrite, source, tmp_path, converted, refused):
    """A link is there already, wherever it leads; what it leads to is never written."""
    link, mine = tmp_path / "loop.safetensors", tmp_path / "mine"
    mine.write_bytes(b"mine")
    link.symlink_to(tmp_path / leads)
    if overwrite:
        converted(source, link.name, format="int8-channel", overwrite=True)
        assert link.is_file() and not link.is_symlink()
    else:
        refused(ConvertError, "is there already: choose another name, or say --overwrite", target=link.name)
    assert mine.read_bytes() == b"mine" and not (tmp_path / "nowhere").exists()


@LINKS
def test_a_link_to_a_folder_as_target(tmp_path, refused):
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").symlink_to("empty", target_is_directory=True)
    refused(ConvertError, "is a folder that is there already", target="out", package="shards")


@LINKS
def test_links_in_a_circle_on_the_way(tmp_path, refused):
    (tmp_path / "loop").symlink_to("loop")
    refused(ConvertError, "a link in its path leads back to itself", target="loop/deeper/out.safetensors")


@pytest.mark.parametrize(
    "name,cause",
    [
        ("x" * 261 + ".safetensors", "it is 273 bytes long, and disks take 255. Choose another one"),
        ("CON.safetensors", "Windows has a device called CON"),
        ("a:b.safetensors", "Windows does not allow : in names"),
        ("aux/out.safetensors", "Windows has a device called AUX"),
        ("a\nb.safetensors", "it has a control character"),
    ],
)
def test_names_that_not_every_system_takes(name, cause, refused):
    refused(WriteError, cause, target=name)


@pytest.mark.parametrize("name", ["x" * 229 + ".safetensors", "x" * 243 + ".safetensors", "x" * 200])
def test_names_as_long_as_disks_take_them(name, source, tmp_path, converted):
    package = {} if name.endswith(".safetensors") else {"package": "shards"}
    target = converted(source, name, format="int8", **package)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", target.name]


def test_another_run_is_writing(tmp_path, refused):
    with only_writer(tmp_path / "out.safetensors"):
        refused(WriteError, r"is being written by another run or server\. Wait until it is done, or choose another")


def test_a_refused_run_leaves_no_folder(refused):
    refused(RuleError, "is neither a format nor a scheme", target="new/folder/out.safetensors", format="int9")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write to every folder")
def test_a_folder_that_cannot_be_written(tmp_path, refused):
    (tmp_path / "mine").mkdir(mode=0o500)
    refused(ConvertError, r"cannot be written: Permission denied\. Choose a folder", target="mine/out.safetensors")


def test_a_place_that_is_no_folder(tmp_path, refused):
    (tmp_path / "mine").touch()
    refused(ConvertError, r"cannot be written: .*mine is no folder\. Check the path", target="mine/out.safetensors")


def test_an_unknown_format(refused):
    refused(RuleError, "'int9' is neither a format nor a scheme", format="int9")


def test_a_rule_for_no_layer(refused):
    rules = tuple(parse_overrides("blocks.7.ffn.0 = keep"))
    refused(RuleError, "matches no layer of this model. Did you mean", overrides=rules)


def test_a_model_without_a_layer_to_quantize(tmp_path, refused):
    path = tmp_path / "odd.safetensors"
    save_file({"some.thing": torch.zeros(3), "token_embedding.weight": torch.zeros(64, 64)}, path)
    refused(ConvertError, "has no layer to quantize", path)


@pytest.mark.parametrize(
    "tensors,match",
    [
        ({"diffusion_model.blocks.0.ffn.0.lora_A.weight": torch.zeros(4, 8)}, "is a LoRA"),
        ({"decoder.conv1.weight": torch.zeros(8, 8, 3, 3, 3)}, "is a VAE"),
        ({"blocks.0.x.weight": torch.zeros(8, 8, dtype=torch.int8)}, "has no scale"),
    ],
)
def test_what_is_no_model_to_convert(tensors, match, tmp_path, refused):
    path = tmp_path / "other.safetensors"
    save_file(tensors, path)
    refused(CheckpointError, match, path)


def test_the_command_says_it_in_one_line(source, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["convert", str(source), str(source), "--format", "int8-channel"])
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("x2v-quant: ") and error.count("\n") == 1


def test_the_command_converts_and_says_what_it_did(source, tmp_path, capsys):
    rules = tmp_path / "rules.txt"
    rules.write_text("# the first block is the most sensitive\nblocks.0.* = keep\n")
    command = ["convert", str(source), str(tmp_path / "out.safetensors"), "--format", "int8-vllm"]
    assert main([*command, "--layers", str(rules), "--layer", "blocks.0.ffn.0 = fp8"]) == 0
    said = capsys.readouterr().out
    assert "1 layer fp8-channel, 10 layers int8-channel" in said
    assert "(kept by the rule 'blocks.0.* = keep')" in said and "(embeds an input of the model)" in said


@pytest.mark.parametrize(
    "moment,words",
    [
        ("Job", "{} is not begun: interrupted. Nothing was written."),
        ("Bars", "{} is not finished: interrupted. Say --resume to go on from here, or delete {}.partial and"),
    ],
)
@pytest.mark.parametrize("name", ["out.safetensors", "x" * 240 + ".safetensors"])
def test_an_interruption_says_how_to_go_on(moment, words, name, source, tmp_path, capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    module = sys.modules["x2v_quant.converting.convert"]
    monkeypatch.setattr(*{"Job": (module, "Job"), "Bars": (command.Bars, "__call__")}[moment], interrupted)
    with pytest.raises(SystemExit) as stopped:
        main(["convert", str(source), str(tmp_path / name), "--format", "int8"])
    assert stopped.value.code == 130
    said = capsys.readouterr().err
    partial = beside(tmp_path / name, "").name
    assert words.format(name, partial) in said
    for file in tmp_path.glob(f"{partial}.*"):
        assert file.name in said


@pytest.mark.parametrize(
    "option,code,words",
    [
        (["--calibration", "nowhere.safetensors"], 1, "There is no calibration at nowhere.safetensors"),
        (["--alpha", "1.5"], 2, "1.5 is not between 0 and 1"),
    ],
)
def test_options_that_cannot_be_used(option, code, words, source, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["convert", str(source), str(tmp_path / "out.safetensors"), "--format", "int8", *option])
    assert stopped.value.code == code
    assert words in capsys.readouterr().err
