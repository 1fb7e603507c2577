"""The line that a report on a file begins with."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from x2v_quant.calibration import Calibration
from x2v_quant.cli import main
from x2v_quant.demo import assets

FIXTURES = Path(__file__).parents[1] / "fixtures"
T5 = "models_t5_umt5-xxl-enc-int8.pth"
CLIP = "models_clip_open-clip-xlm-roberta-large-vit-huge-14-fp8.pth"


@pytest.mark.parametrize(
    "path,words",
    [
        (T5, "OK. umt5 encoder int8. Use Load Quantized T5. Read the note below."),
        (CLIP, "OK. CLIP ViT vision encoder (XLM-R) fp8. Use Load Quantized CLIP."),
        ("wan_t2v_int8_blocks", "Not OK: wan_t2v_int8_blocks: text_embedding.0.weight is missing (and 4 more). The"),
    ],
)
def test_it_begins_with_a_verdict(path, words, capsys, inspect):
    _, report = inspect(FIXTURES / path)
    assert report["verdict"].startswith(words)
    main(["inspect", str(FIXTURES / path)])
    assert capsys.readouterr().out.splitlines()[:2] == [report["verdict"], ""]


def test_the_verdict_on_a_diffusion_model(whole, inspect):
    assert inspect(whole("int8"))[1]["verdict"] == "OK. Wan 2.1 t2v int8. Use Load Quantized DiT."
    plain = inspect(whole("int8").parent / "dense.safetensors")[1]["verdict"]
    assert plain == (
        "Not quantized: Wan 2.1 t2v. Use Load Diffusion Model, or quantize it with Quantize Model and Save Quantized "
        "Model or x2v-quant convert."
    )


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("t2v", "Wan 2.1 t2v. Use Load Diffusion Model, or quantize it with Quantize Model and"),
        ("t5", "umt5 encoder. Use Load Quantized T5, or quantize it with Quantize CLIP and"),
        ("clip", "CLIP ViT vision encoder (XLM-R). Make an int8 or fp8 file of it with x2v-quant convert."),
    ],
)
def test_the_verdict_on_a_file_that_is_not_quantized_says_what_takes_it(field, words, demo_models, inspect):
    path = demo_models / assets.FOLDERS[field] / getattr(assets.names(assets.ORIGINAL), field)
    assert inspect(path)[1]["verdict"].startswith(f"Not quantized: {words}")


def test_a_problem_is_said_once(capsys, tmp_path):
    """In the verdict; nothing else is known of a file that cannot be read."""
    assert main(["inspect", str(tmp_path / "nowhere.safetensors")]) == 1
    assert capsys.readouterr().out == f"Not OK: nowhere.safetensors is not in {tmp_path}. Check the path.\n"
    save_file({"blocks.0.x.weight": torch.zeros(2, 2, dtype=torch.int8)}, tmp_path / "wan.safetensors")
    assert main(["inspect", str(tmp_path / "wan.safetensors")]) == 1
    text = capsys.readouterr().out
    assert text.count("blocks.0.x.weight has no scale") == 1 and "(unknown)" not in text


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("decoder.conv1.weight", "A VAE. Put it into models/vae and use Load VAE."),
        ("blocks.0.ffn.0.lora_A.weight", "A LoRA. Put it into models/loras and use Load LoRA (any format)."),
    ],
)
def test_a_good_file_for_another_node_is_not_called_bad(key, words, capsys, tmp_path):
    save_file({key: torch.ones(2, 2)}, tmp_path / "model.safetensors")
    assert main(["inspect", str(tmp_path / "model.safetensors")]) == 1
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == words and not [line for line in rest if "problem" in line]


@pytest.mark.parametrize("channels", [4, 5])
def test_a_calibration_is_one_and_says_what_it_has(channels, capsys, tmp_path):
    """Or, with inputs as wide as no layer, that it is damaged."""
    layer = "blocks.0.self_attn.q"
    inputs = {layer: torch.ones((7, channels), dtype=torch.bfloat16)}
    Calibration({layer: torch.ones(4)}, inputs=inputs, calls=3).save(tmp_path / "seen.safetensors")
    main(["inspect", str(tmp_path / "seen.safetensors")])
    out = capsys.readouterr().out
    assert out.startswith("A calibration. Put it into input/calibration and use Load Calibration.")
    wrong = f"seen.safetensors: {layer} has inputs of shape [7, 5] that are not 16-bit rows of 4 channels."
    assert f"note: {'recorded: 1 layers, 3 calls of the model, up to 7 tokens each' if channels == 4 else wrong}" in out


def test_a_file_that_its_own_node_does_not_read_is_not_ok(inspect, demo_models):
    """Load VAE lists files, no folders."""
    assert inspect(demo_models / "vae")[1]["verdict"].startswith("Not OK: vae is a VAE. Put it into models/vae and")
