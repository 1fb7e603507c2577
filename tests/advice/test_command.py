"""`x2v-quant advise` and the line of Kernel Report."""

import json

import pytest

from x2v_quant import cli
from x2v_quant.advice.size import read_size
from x2v_quant.core.on_path import PACK
from x2v_quant.nodes import report as node

FILE = PACK / "tests" / "fixtures" / "wan_t2v_fp8.safetensors"


def advise(capsys, *words):
    status = cli.main(["advise", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_name_for_a_card(capsys):
    status, said, _ = advise(capsys, "Wan2.1_T2V_14B", "--gpu", "RTX 3060 12GB", "--ram", "32", "--size", "832x480x81")
    first, _, asked, *_ = said.splitlines()
    assert status == 0 and first.startswith("Take int8-convrot (gptq, with a calibration), offload mode auto: ")
    assert asked == (
        "wan2.1-t2v-14b at 832x480x81 on RTX 3060 (compute capability 8.6), 12.9 GB VRAM, 34.4 GB RAM, of these "
        "6.33 GB for what is between the layers."
    )
    assert "speed: an estimate" in said and "x2v-quant convert FILE OUT --format int8-convrot --calibration" in said


def test_json_has_the_same(capsys):
    status, said, _ = advise(capsys, "flux", "--gpu", "RTX 4090", "--ram", "32", "--json")
    found = json.loads(said)
    assert status == 0 and found["size"] == "1024x1024" and found["timed"] and found["vram"] == 24 * 1024**3
    assert [row["fits"] for row in found["advice"]].count(True) == 11
    assert all(row["place"]["vram"] <= found["vram"] for row in found["advice"])


def test_what_does_not_fit_ends_with_1(capsys):
    status, said, _ = advise(capsys, "wan2.1-t2v-14b", "--gpu", "RTX 2060")
    assert status == 1 and said.startswith("It may stop for lack of memory: ")


def test_a_file_says_where_its_own_format_is(capsys):
    status, said, _ = advise(capsys, str(FILE), "--gpu", "RTX 3060", "--ram", "32")
    assert status == 0 and "This file is fp8-channel: number 4 of the list." in said
    assert 'On this machine switch "transcode at load" on in Quantization Scheme: its layers become int8' in said


@pytest.mark.parametrize(
    "words,said",
    [
        (
            ("wan2.1-t2v-15b",),
            "'wan2.1-t2v-15b' is neither a file nor a model known by name. Did you mean wan2.1-t2v-14b",
        ),
        (("flux", "--gpu", "RTX 4095"), "No GPU 'RTX 4095' in the table. Near names: RTX 4090"),
        (("gone.safetensors",), "gone.safetensors"),
    ],
)
def test_a_mistake_is_one_line(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["advise", *words])
    told = capsys.readouterr().err
    assert ended.value.code == 1 and told.startswith("x2v-quant: ") and said in told and told.count("\n") == 1


@pytest.mark.parametrize("text", ["832", "0x480", "axb", "832x480x0", "1x2x3x4"])
def test_a_size_that_is_none(text, capsys):
    with pytest.raises(SystemExit):
        cli.main(["advise", "flux", "--size", text])
    assert f"{text!r} is not a size like 832x480x81 or 1024x1024" in capsys.readouterr().err


def test_sizes():
    assert [str(read_size(text)) for text in ("832X480x81", "64x32", "64x32x1")] == ["832x480x81", "64x32", "64x32"]


def test_kernel_report_shows_the_first_line(monkeypatch):
    shown = []
    monkeypatch.setattr(node, "show", shown.append)
    report = node.KernelReport.execute().result[0]
    line = next(line for line in report.splitlines() if line.startswith("wan2.1-t2v-14b at 832x480x81: "))
    assert line in shown[0] and ("Take " in line or "It may stop" in line)
