"""x2v-quant swap: the file that it writes, and when it writes none."""

import argparse
import errno
import json
import os

import pytest
from PIL import Image, PngImagePlugin
from saved_workflows import loader, node, workflow

from x2v_quant.cli import main
from x2v_quant.headless.swap import arguments, lines, ok, run
from x2v_quant.headless.workflow import WorkflowError
from x2v_quant.writing import WriteError

WAN = "wan2.1_t2v_14B_fp16.safetensors"


def options(*words):
    parser = argparse.ArgumentParser()
    arguments(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.fixture
def saved_file(tmp_path):
    saved = workflow(
        loader(3, "UNETLoader", [WAN, "default"]),
        loader(4, "CheckpointLoaderSimple", ["sdxl.safetensors"]),
    )
    path = tmp_path / "Wan \u6587.json"
    path.write_text(json.dumps(saved), encoding="utf-8")
    return path


def test_the_command_writes_another_file(saved_file, tmp_path):
    report = run(options(saved_file, "--file", f"{WAN}=wan_int8.safetensors"))
    output = tmp_path / "Wan \u6587_quantized.json"
    assert report["output"] == str(output)
    changed = json.loads(output.read_text(encoding="utf-8"))
    assert changed["nodes"][0]["widgets_values"] == ["wan_int8.safetensors"]
    assert lines(report) == [
        f"1 of 2 loaders replaced. Saved {output}.",
        f"- node 3, Load Diffusion Model ({WAN}) is now Load Quantized DiT",
        "- node 4, Load Checkpoint stays: it loads model, text encoder and VAE from one file",
        "Next: open it in ComfyUI and pick a quantized file in each new loader.",
        "No quantized file yet? x2v-quant convert makes one.",
    ]
    assert ok(report)


def test_the_command_fails_when_it_swaps_nothing(saved_file):
    saved = json.loads(saved_file.read_text(encoding="utf-8"))
    saved_file.write_text(json.dumps({**saved, "nodes": saved["nodes"][1:]}), encoding="utf-8")
    assert not ok(run(options(saved_file)))


@pytest.mark.parametrize(
    ("nodes", "cause"),
    [
        ([loader(4, "CheckpointLoaderSimple", ["sdxl.safetensors"])], "none of these loaders has one of this pack's"),
        ([loader(3, "X2VLoadDiT", ["wan_int8.safetensors"])], "already this pack's loaders"),
        ([node(3, "Note", ["mine"])], "no loader of models in this workflow"),
    ],
)
def test_nothing_to_replace_says_why(nodes, cause, tmp_path):
    file = tmp_path / "saved.json"
    file.write_text(json.dumps(workflow(*nodes)))
    report = run(options(file))
    assert lines(report)[0] == f"Nothing to replace: {cause}{lines(report)[0].partition(cause)[2]}"
    assert not ok(report)


def test_our_loaders_in_a_prompt_are_counted(tmp_path):
    file = tmp_path / "api.json"
    file.write_text(json.dumps({"3": {"class_type": "X2VLoadDiT", "inputs": {"model_name": "wan.safetensors"}}}))
    assert run(options(file))["ours"] == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-o", "{}"], "Wan \u6587.json is there already: name another file with -o"),
        (["--file", "wan_int8.safetensors"], "'wan_int8.safetensors' is not OLD=NEW"),
    ],
)
def test_the_command_refuses(saved_file, more, message):
    before = saved_file.read_bytes()
    with pytest.raises(WorkflowError, match=message):
        run(options(saved_file, *(word.format(saved_file) for word in more)))
    assert saved_file.read_bytes() == before


def test_from_the_shell(saved_file, capsys):
    assert main(["swap", str(saved_file), "--json"]) == 0
    assert [loader["now"] for loader in json.loads(capsys.readouterr().out)["loaders"]] == ["X2VLoadDiT", ""]
    with pytest.raises(SystemExit) as ended:  # the file of the first time is there
        main(["swap", str(saved_file)])
    assert ended.value.code == 1
    assert "is there already" in capsys.readouterr().err


def test_nothing_is_written_where_a_link_leads(saved_file):
    output, elsewhere = saved_file.with_name("out.json"), saved_file.with_name("elsewhere.json")
    output.symlink_to(elsewhere)
    with pytest.raises(WorkflowError, match=r"out\.json is there already"):
        run(options(saved_file, "-o", str(output)))
    assert not elsewhere.exists()


def test_a_full_disk_leaves_no_half_of_it(saved_file, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(WriteError, match=r"_quantized\.json does not fit on its disk"):
        run(options(saved_file))
    assert list(saved_file.parent.iterdir()) == [saved_file]


def test_half_a_pair_of_a_character_survives(tmp_path):
    """JSON has \\ud83d alone, UTF-8 has no bytes for it."""
    saved = workflow(loader(3, "UNETLoader", [WAN]), node(4, "Note", ["\ud83d \u00e9"]))
    file = tmp_path / "saved.json"
    file.write_text(json.dumps(saved))
    assert main(["swap", str(file)]) == 0
    text = (tmp_path / "saved_quantized.json").read_text(encoding="utf-8")
    assert "\u00e9" in text
    assert json.loads(text)["nodes"][1] == saved["nodes"][1]


def test_a_picture_is_read_and_a_json_written(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", json.dumps(workflow(loader(3, "UNETLoader", [WAN]))))
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png", pnginfo=info)
    assert main(["swap", str(tmp_path / "picture.png")]) == 0
    assert json.loads((tmp_path / "picture_quantized.json").read_text())["nodes"][0]["type"] == "X2VLoadDiT"
