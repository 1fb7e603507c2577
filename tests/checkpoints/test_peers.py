"""What other quantizers make of a layer (tests/data/record_peers.py) is read as the weight that they read it as, or
refused by name; what comfy-kitchen makes, this pack makes and writes to the bit."""

import json
from pathlib import Path

import pytest
import torch
from older_comfyui import core_rotates_int8
from one_layer import DIT, Q
from safetensors import safe_open
from safetensors.torch import save_file

from x2v_quant.checkpoints import CheckpointError, open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI
from x2v_quant.converting.dialects import layer_tensors
from x2v_quant.formats import FORMATS
from x2v_quant.reports.checkpoint import inspect, lines

RECORDED = Path(__file__).parent.parent / "data" / "peers.safetensors"
# of which comfy-kitchen's layout makes what the format's own quantizer does
OF_CORE = {
    "comfy-kitchen: int8": "int8-channel",
    "comfy-kitchen: int8 convrot 256": "int8-convrot",
    "comfy-kitchen: int8 convrot 64": "int8-convrot-64",
    "comfy-kitchen: int8 convrot 16": "int8-convrot-16",
    "comfy-kitchen: convrot_w4a4 256": "convrot-w4a4",
    "comfy-kitchen: convrot_w4a4 64": "convrot-w4a4-64",
    "comfy-kitchen: convrot_w4a4 16": "convrot-w4a4-16",
    "comfy-kitchen: mxfp8": "mxfp8",
    "comfy-kitchen: nvfp4": "nvfp4",
}
# case -> the format that it is read as
READ = {
    **OF_CORE,
    "comfy-kitchen: int8, one scale": "int8-channel",
    "comfy-kitchen: fp8": "fp8-channel",
    "comfy-kitchen: fp8 e5m2": "fp8-channel",
    "comfy-kitchen: awq_w4a16": "awq-w4a16",
    "autoawq: groups of 128": "awq-w4a16-128",
    "autoawq: groups of 64": "awq-w4a16",
    "autoawq: groups of 32": "awq-w4a16-32",
    "auto-gptq: symmetric": "int4-g128",
    "auto-gptq: asymmetric": "awq-w4a16-128",
    "auto-gptq: asymmetric, groups of 64": "awq-w4a16",
    "compressed-tensors: int4": "int4-g128",
    "compressed-tensors: int8": "int8-channel",
    "compressed-tensors: fp8": "fp8-channel",
    "compressed-tensors: fp8, blocks": "fp8-block128",
    "bitsandbytes: int8": "int8-channel",
}
REFUSED = {
    "compressed-tensors: int4, zero points": "has zero points (asymmetric quantization)",
    "compressed-tensors: nvfp4": "looks like nvfp4, and not LightX2V's or ComfyUI's",
    "compressed-tensors: mxfp4": "looks like mxfp4 with scales in another order than LightX2V's",
    "compressed-tensors: mxfp8": "looks like mxfp8 without ComfyUI's marker",
}


def every(cases):
    return [pytest.param(case, marks=[core_rotates_int8] if "int8 convrot" in case else []) for case in cases]


def recorded(case):
    """(the layer's tensors by the end of their names, its marker or None, the first rows as the tool reads them, the
    weight)"""
    with safe_open(RECORDED, "pt") as file:
        ends = [key.removeprefix(f"{case}.") for key in file.keys() if key.startswith(f"{case}.")]  # noqa: SIM118
        layer = {end: file.get_tensor(f"{case}.{end}") for end in ends}
        marker = json.loads(file.metadata()[case])["marker"]
        return layer, marker, layer.pop("dequantized"), file.get_tensor("float")


def opened(case, path):
    layer, marker, _, _ = recorded(case)
    if marker is not None:
        layer["comfy_quant"] = torch.tensor(list(json.dumps(marker).encode()), dtype=torch.uint8)
    save_file({**DIT, **{f"{Q}.{end}": tensor for end, tensor in layer.items()}}, path)
    return open_checkpoint(path)


def read(case, folder):
    checkpoint = opened(case, folder / "model.safetensors")
    checkpoint.require("dit")
    return checkpoint.load().quantized[Q]


def raw(tensor):
    return bytes(tensor.contiguous().flatten().view(torch.uint8).tolist())


def test_every_case_is_read_or_refused():
    with safe_open(RECORDED, "pt") as file:
        assert set(file.metadata()) == {*READ, *REFUSED}


@pytest.mark.parametrize("case", every(READ))
def test_it_is_the_weight_that_its_tool_reads(case, tmp_path):
    stored = read(case, tmp_path)
    *_, expected, _ = recorded(case)
    assert stored.format == READ[case]
    found = stored.wrap(torch.float32).dequantize()[: len(expected)]
    # bitsandbytes multiplies by a rounded 1 / 127
    off = 1e-6 if case.startswith("bitsandbytes") else 0
    torch.testing.assert_close(found.to(expected.dtype), expected, rtol=off, atol=0)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_read_is_refused_by_name(case, tmp_path):
    with pytest.raises(CheckpointError) as refusal:
        opened(case, tmp_path / "model.safetensors").require("dit")
    assert f"{Q}.weight" in str(refusal.value)
    assert REFUSED[case] in str(refusal.value)
    assert "get the model in one of them" in str(refusal.value)


@pytest.mark.parametrize("case", every(OF_CORE))
def test_the_same_codes_and_scales_are_made(case):
    layer, _, _, weight = recorded(case)
    row = FORMATS[OF_CORE[case]]
    rows = len(layer["weight"])
    made = row.quantize(weight[:rows], torch.float32).state_dict("weight")
    assert {end: (t.dtype, t.shape, raw(t)) for end, t in made.items()} == {
        end: (t.dtype, t.shape, raw(t)) for end, t in layer.items()
    }


@pytest.mark.parametrize("case", every([*OF_CORE, "comfy-kitchen: awq_w4a16"]))
def test_it_is_written_as_core_saves_it(case, tmp_path):
    layer, told, _, _ = recorded(case)
    written = layer_tensors(read(case, tmp_path), COMFYUI)
    marker = json.loads(bytes(written.pop("comfy_quant").tolist()))
    # core passes over an entry that it does not know
    assert {**marker, **told} == marker
    assert marker.keys() - told.keys() <= {"orig_shape"}
    # core's reader of streamed files does not know the type of mxfp8's scales
    bits = {torch.float8_e8m0fnu: torch.uint8}
    assert {end: (t.dtype, t.shape, raw(t)) for end, t in written.items()} == {
        end: (bits.get(t.dtype, t.dtype), t.shape, raw(t)) for end, t in layer.items()
    }


def test_the_model_of_a_format_that_is_not_read_is_known(tmp_path):
    layer, *_ = recorded("compressed-tensors: nvfp4")
    tensors = {f"blocks.{block}.self_attn.q.{end}": t.clone() for block in range(2) for end, t in layer.items()}
    save_file({"head.modulation": DIT["head.modulation"], **tensors}, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path / "model.safetensors")
    assert checkpoint.model == "Wan 2.1 t2v"
    assert {problem.key for problem in checkpoint.problems} == {
        f"blocks.{block}.self_attn.q.weight_packed" for block in range(2)
    }


# whose files are known by the name of a tool or of a type
KNOWN_AS = {
    "autoawq: groups of 64": "awq-w4a16 (AutoAWQ)",
    "auto-gptq: symmetric": "int4-g128 (GPTQ)",
    "auto-gptq: asymmetric": "awq-w4a16-128 (GPTQ)",
    "compressed-tensors: int4": "int4-g128 (compressed-tensors)",
    "bitsandbytes: int8": "int8-channel (bitsandbytes)",
    "comfy-kitchen: fp8 e5m2": "fp8-channel (fp8-e5m2)",
}


@pytest.mark.parametrize("case", KNOWN_AS)
def test_inspect_says_what_the_file_is_known_as(case, tmp_path):
    opened(case, tmp_path / "model.safetensors")
    report = inspect(tmp_path / "model.safetensors")
    assert any(line.startswith(f"blocks.*.self_attn.q  {KNOWN_AS[case]} ") for line in lines(report))
