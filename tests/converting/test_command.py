"""What the command takes by default, and what it says of what it wrote."""

import argparse

import pytest
from older_comfyui import core_reads_int8

from x2v_quant.checkpoints.encodings import COMFYUI, DIALECTS, LIGHTX2V, X2V
from x2v_quant.cli import main
from x2v_quant.converting import command
from x2v_quant.converting.outputs import NO_TOKENIZER
from x2v_quant.converting.saved import saved
from x2v_quant.core.features import reads_awq, reads_int8, reads_rotated_int4, reads_w4a8
from x2v_quant.kernels.machine import default_device, describe
from x2v_quant.kernels.native import native_format
from x2v_quant.nodes.quantize import QuantizeModel
from x2v_quant.nodes.save import SaveQuantizedModel

LIGHTX2VS_T5 = "models_t5_umt5-xxl-enc-int8.pth"


@pytest.fixture
def parsed():
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    return lambda *words: parser.parse_args(["source", "target", *words])


def test_defaults_are_those_of_the_node(parsed):
    defaults = {
        entry.id: entry.default for entry in SaveQuantizedModel.define_schema().inputs if hasattr(entry, "default")
    }
    assert parsed().dialect == defaults["dialect"]
    assert parsed().package == defaults["package"]


def test_the_strength_of_smoothing_is_recommended_as_on_the_node():
    """Without one, both find the best for each layer."""
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    words = " ".join(parser.format_help().split())
    alpha = {entry.id: entry for entry in QuantizeModel.define_schema().inputs}["alpha"]
    typical = alpha.tooltip.rpartition("typical ")[2].rstrip(".")
    assert f"e.g. {alpha.default}; typical: {typical};" in words


def test_every_dialect_has_its_readers():
    assert set(command.READERS) == set(DIALECTS)


def test_an_unquantized_source_becomes_what_this_machine_computes_in(source, parsed, tmp_path):
    options = parsed()
    options.source, options.target = source, tmp_path / "out.safetensors"
    assert set(command.run(options)["formats"]) == {native_format(describe(default_device()))}


@pytest.mark.parametrize(
    "dialect,loaders",
    [
        (X2V, "Load Quantized DiT"),
        (LIGHTX2V, "Load Quantized DiT"),
        pytest.param(COMFYUI, "Load Diffusion Model or Load Quantized DiT", marks=core_reads_int8),
    ],
)
@pytest.mark.parametrize("folder", ["", "models/diffusion_models/wan"])
def test_it_says_what_to_do_with_the_file(dialect, loaders, folder, source, tmp_path, capsys):
    target = tmp_path / folder / "out.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    assert main(["convert", str(source), str(target), "--format", "int8", "--dialect", dialect]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    sizes = " -> ".join(f"{file.stat().st_size / 1e6:.2f} MB" for file in (source, target))
    step = "In ComfyUI, press R and" if folder else "Put it into models/diffusion_models and"
    assert first == f"Saved out.safetensors: {sizes}. {step} pick it in {loaders}."


NEWER = {
    "int8-channel": (reads_int8, "0.27"),
    "convrot-w4a4": (reads_rotated_int4, "0.30"),
    "w4a8": (reads_w4a8, "0.31"),
    "awq-w4a16": (reads_awq, "0.38"),
}


@pytest.mark.parametrize("name", NEWER)
def test_it_says_which_comfyui_reads_the_file(name, tmp_path):
    reads, release = NEWER[name]
    sizes = {"source_bytes": 2_000_000, "bytes": 1_000_000}
    text = saved(
        {"target": str(tmp_path / "a"), "kind": "dit", "dialect": COMFYUI, "notes": [], "formats": {name: 1}, **sizes}
    )
    later = f"Load Quantized DiT, or from ComfyUI {release} on in Load Diffusion Model."
    assert text.endswith("Load Diffusion Model or Load Quantized DiT." if reads() else later)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("tokenizer", [True, False])
def test_a_text_encoder_without_a_tokenizer_says_so(dialect, tokenizer, demo_models, fixtures, tmp_path, capsys):
    """LightX2V's dialect has none; ComfyUI's own loader reads none without."""
    file = demo_models / "text_encoders" / "x2v_demo_umt5_int8.pth" if tokenizer else fixtures / LIGHTX2VS_T5
    assert main(["convert", str(file), str(tmp_path / "t5.safetensors"), "--dialect", dialect]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    lacks = not tokenizer or dialect == LIGHTX2V
    assert (f"note: {NO_TOKENIZER}" in rest) == lacks
    later = "Load Quantized T5, or from ComfyUI 0.27 on in Load CLIP."
    both = "Load CLIP or Load Quantized T5." if reads_int8() else later
    assert (f"pick it in {both}" in first) == (dialect == COMFYUI and not lacks)


@pytest.mark.parametrize("option", ["--target-snr", "--target-size", "--shard-size"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1e9", "much"])
def test_a_number_that_is_none_is_refused(option, value, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["convert", "source", "target", f"{option}={value}"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"x2v-quant convert: argument {option}: ") and said.count("\n") == 1
