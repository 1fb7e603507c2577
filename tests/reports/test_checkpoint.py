"""x2v-quant inspect, as a person and as a program sees it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from x2v_quant.benchmarks.quantize import quantized
from x2v_quant.cli import main
from x2v_quant.reports.soundness import UNTRIED

FIXTURES = Path(__file__).parents[1] / "fixtures"
T5 = "models_t5_umt5-xxl-enc-{}.pth"
# schemes that leave the format to the file
ANY_FORMAT = ("auto", "dequant", "reference")
CLIP = "models_clip_open-clip-xlm-roberta-large-vit-huge-14-{}.pth"


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_what_a_whole_model_is(kind, whole, inspect):
    status, report = inspect(whole(kind))
    assert (status, report["kind"], report["formats"], report["problems"]) == (0, "dit", {f"{kind}-channel": 20}, [])
    assert f"{kind}-dequant" in report["schemes"]


@pytest.mark.parametrize("name", ["wan_t2v_int8_blocks", "wan_t2v_fp8.safetensors", "wan_t2v_fp8_comfyui.safetensors"])
def test_what_lacks_a_part_is_no_model(name, inspect):
    """What LightX2V's converter made of some of a Wan's tensors."""
    status, report = inspect(FIXTURES / name)
    (problem,) = report["problems"]
    assert (status, problem["key"], problem["cause"]) == (1, "text_embedding.0.weight", "is missing (and 4 more)")


@pytest.mark.parametrize(
    "name,kind,formats,scheme",
    [
        (T5.format("int8"), "t5", {"int8-channel": 21}, "int8-dequant"),
        (T5.format("fp8"), "t5", {"fp8-channel": 21}, "fp8-dequant"),
        (CLIP.format("int8"), "clip_vision", {"int8-channel": 12}, "int8-dequant"),
        (CLIP.format("fp8"), "clip_vision", {"fp8-channel": 12}, "fp8-dequant"),
    ],
)
def test_what_the_fixtures_are(name, kind, formats, scheme, inspect):
    status, report = inspect(FIXTURES / name)
    assert status == 0
    assert (report["kind"], report["formats"], report["problems"]) == (kind, formats, [])
    without = ["tokenizer"] if kind == "t5" else []
    assert [note.split("has no ")[1].split(".")[0] for note in report["notes"]] == without
    assert report["schemes"][0] == "auto"
    assert scheme in report["schemes"]
    assert all(name in ANY_FORMAT or name.startswith(scheme[:3]) for name in report["schemes"])
    assert sum(group["layers"] for group in report["layer_groups"]) == sum(formats.values())


def test_schemes_tell_which_run_on_their_own_kernel_here(whole, inspect):
    """A scheme whose library this machine, or this version, does not have fits the file, with the reason beside it."""
    from x2v_quant.kernels import why_not
    from x2v_quant.kernels.machine import default_device, describe
    from x2v_quant.schemes import resolve, schemes_for

    _, report = inspect(whole("int8"))
    machine = describe(default_device())
    assert set(report["schemes"]) == set(schemes_for(report["formats"], "dit"))
    for name in report["schemes"][1:]:
        assert report["fallbacks"].get(name) == why_not(resolve(name).kernel, "int8-channel", machine)
    assert "int8-vllm" in report["fallbacks"]


def test_groups_and_bytes(inspect):
    _, report = inspect(FIXTURES / "wan_t2v_int8_blocks")
    groups = {group["group"]: group for group in report["layer_groups"]}
    assert groups["blocks.*.self_attn.q"] == {
        "group": "blocks.*.self_attn.q",
        "format": "int8-channel",
        "origin": "",
        "layers": 2,
        "bytes": 2 * (256 * 256 + 256 * 2),
    }
    kept = {group["group"]: group for group in report["kept"]}
    assert kept["head.head"]["dtype"] == "bfloat16"
    assert kept["biases of quantized layers"]["tensors"] == 20
    assert report["bytes"]["quantized"] + report["bytes"]["kept"] == report["bytes"]["total"]
    assert [file["name"] for file in report["files"]] == [
        "block_0.safetensors",
        "block_1.safetensors",
        "non_block.safetensors",
    ]
    folder = FIXTURES / "wan_t2v_int8_blocks"
    assert sum(f["bytes"] for f in report["files"]) == sum(f.stat().st_size for f in folder.glob("*.safetensors"))


def test_a_problem_gives_exit_status_1(inspect, tmp_path):
    path = tmp_path / "wan.safetensors"
    save_file(
        {"head.modulation": torch.zeros(1), "blocks.0.self_attn.q.weight": torch.zeros(8, 8, dtype=torch.int8)}, path
    )
    status, report = inspect(path)
    assert status == 1
    (problem,) = report["problems"]
    assert problem.keys() == {"file", "key", "cause", "remedy"}
    assert (problem["file"], problem["key"]) == ("wan.safetensors", "blocks.0.self_attn.q.weight")
    assert report["schemes"] == []


@pytest.mark.parametrize("content", [b"", b"just a text", bytes(50)])
def test_a_file_that_cannot_be_read_is_a_report_too(content, inspect, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    status, report = inspect(path)
    assert status == 1
    assert report["kind"] == "unknown"
    assert len(report["problems"]) == 1
    _, good = inspect(FIXTURES / T5.format("int8"))
    assert report.keys() == good.keys()


def test_an_unquantized_file_is_no_problem(whole, inspect):
    status, report = inspect(whole("int8").parent / "dense.safetensors")
    assert (status, report["kind"], report["formats"], report["schemes"]) == (0, "dit", {}, [])


def test_the_table_for_people(whole, capsys):
    assert main(["inspect", str(whole("fp8"))]) == 0
    text = capsys.readouterr().out
    for words in (
        "Wan 2.1 t2v (dit)",
        "blocks.*.ffn.2",
        "fp8-channel",
        "schemes that run here: auto",
        "problems: none",
    ):
        assert words in text


@pytest.mark.parametrize(
    "name,words",
    [
        ("blocks.0.self_attn.q", "the nearest known one is Wan 2.1 t2v, but names like head.modulation are not there"),
        (
            "layers.0.adaLN_modulation.1",
            "the nearest known one is Z-Image, but names like noise_refiner.0.attention",
        ),
        ("xyz.0.abc", "is no diffusion model that ComfyUI recognises. Update ComfyUI or use another file."),
    ],
)
def test_an_unknown_model_is_a_problem_with_the_nearest_known_one(name, words, capsys, tmp_path):
    path = tmp_path / "model.safetensors"
    layer = {f"{name}.weight": torch.zeros(8, 8, dtype=torch.int8), f"{name}.weight_scale": torch.zeros(8, 1)}
    save_file({**layer, "head.mod": torch.zeros(8)}, path)
    assert main(["inspect", str(path)]) == 1
    assert words in capsys.readouterr().out


def test_where_there_is_no_comfyui_an_unknown_model_is_a_problem_too(untried, inspect, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(quantized({"blocks.0.self_attn.q.weight": torch.ones(8, 8)}, "int8", "dit"), path)
    _, report = inspect(path)
    (problem,) = report["problems"]
    assert problem["cause"].startswith("is a quantized model that is not known here: the nearest known one is Wan 2.1")
    assert "set COMFYUI_PATH" in problem["remedy"]


def test_what_is_no_model_is_told_with_the_nearest_too(capsys, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"blocks.0.self_attn.q.weight": torch.zeros(8, 8)}, path)
    assert main(["inspect", str(path)]) == 1
    text = capsys.readouterr().out
    assert "is not a model that is known here: the nearest known one is Wan 2.1 t2v, but names like head" in text


def test_a_module_alone_is_a_problem(capsys, tmp_path):
    path = tmp_path / "vace.safetensors"
    save_file({"vace_blocks.0.self_attn.q.weight": torch.zeros(8, 8)}, path)
    assert main(["inspect", str(path)]) == 1
    assert "is VACE's modules for Wan, an add-on. It does not load alone: get Wan VACE" in capsys.readouterr().out


def test_long_lists_of_problems_are_cut_for_people(capsys, tmp_path):
    path = tmp_path / "wan.safetensors"
    save_file({f"blocks.{i}.x.weight": torch.zeros(2, 2, dtype=torch.int8) for i in range(50)}, path)
    assert main(["inspect", str(path)]) == 1
    text = capsys.readouterr().out
    assert text.count("problem: ") == 20
    assert "and 29 more problems" in text


@pytest.mark.slow
def test_the_command_itself_without_comfyui(whole, tmp_path):
    """One JSON object and nothing else on standard output; where ComfyUI is not there, it says what that leaves out."""
    code = (
        "import sys; from x2v_quant.cli import main; status = main(sys.argv[1:]);"
        "assert 'comfy' not in sys.modules; sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "inspect", str(whole("int8")), "--json"]
    place = {**os.environ, "COMFYUI_PATH": str(tmp_path)}
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, env=place)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["kind"] == "dit"
    assert report["notes"] == [UNTRIED]


@pytest.mark.slow
def test_the_command_itself(whole, tmp_path):
    """Nothing of what ComfyUI says while it is held against reaches a reader."""
    command = [sys.executable, "-m", "x2v_quant", "inspect", str(whole("int8")), "--json"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")
    assert json.loads(run.stdout)["notes"] == []


@pytest.mark.parametrize("arguments", [["inspect"], ["nonsense", "x"]])
def test_a_wrong_command_line_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert re.search(r"x2v-quant.* --help\.$", capsys.readouterr().err.strip())


KINDS = {
    "fp8-tensor": "fp8-tensor",
    "block128": "fp8-block128",
    "int4": "int4-g128",
    "int4-gptq": "int4-g128",
    "int4-compressed": "int4-g128",
    "int4-marlin": "int4-g128-marlin",
    "mxfp8": "mxfp8",
    "nvfp4": "nvfp4",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_of_a_layer_is_counted(kind, inspect, tmp_path):
    """The format is named, and no byte of the file is left out."""
    path = tmp_path / "wan.safetensors"
    tensors = {"head.modulation": torch.zeros(8), "blocks.0.self_attn.q.bias": torch.zeros(256)}
    tensors |= quantized({"blocks.0.self_attn.q.weight": torch.ones(256, 256)}, kind, "dit")
    save_file(tensors, path)
    status, report = inspect(path)
    assert (status, report["formats"], report["kind"]) == (1, {KINDS[kind]: 1}, "dit")
    assert [problem["cause"].partition(" (")[0] for problem in report["problems"]] == ["is missing"]
    assert report["layer_groups"][0]["group"] == "blocks.*.self_attn.q"
    assert report["bytes"]["quantized"] == sum(t.nbytes for key, t in tensors.items() if not key.endswith(END_OF_PLAIN))
    assert report["bytes"]["kept"] == sum(t.nbytes for key, t in tensors.items() if key.endswith(END_OF_PLAIN))
    assert {group["group"] for group in report["kept"]} == {"head.modulation", "biases of quantized layers"}


END_OF_PLAIN = (".bias", ".modulation")
