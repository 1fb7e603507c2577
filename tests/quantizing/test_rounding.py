"""Quantize Model with a method of rounding: what GPTQ gains on what was recorded, and what happens without."""

import functools

import pytest
import small_wan
import torch
from distance import decibels
from safetensors import safe_open

import x2v_quant.rounding.curvature as of_inputs
from x2v_quant.calibration import Calibration
from x2v_quant.calibration.recorder import calibrated
from x2v_quant.loras import apply_lora
from x2v_quant.quantizing import QuantizeError, Rounder, Smoother, quantize_model, select_in_model
from x2v_quant.quantizing.saving import save_model
from x2v_quant.quantizing.weights import shape_of
from x2v_quant.rounding import METHODS
from x2v_quant.rounding.record import Record
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
# of weights alone: what rounding is about
REFERENCE = SchemeChoice(dit="dequant", compute_dtype="fp32")
# several times as many as a layer has channels, in the prompts too
TOKENS, SEEDS, TEXT = 2048, range(16), 64
# dB of the latents, over the better of the others
GAIN = {"w4a8": 1.5, "int4-g128": 1.5, "nvfp4": 1.5, "int8-channel": 0.8, "fp8-channel": 3}
INT4, INT8 = "int4-g128", "int8-channel"


@pytest.fixture(scope="module")
def recorded(dense_file):
    """What the layers of the trained model get to see with some noises and prompts, with tokens."""
    import comfy.sd

    with torch.inference_mode():
        model, calibration = calibrated(comfy.sd.load_diffusion_model(dense_file), tokens=TOKENS)
        for seed in SEEDS:
            small_wan.sample(model, steps=2, seed=seed, tokens=TEXT)
    return calibration.on_cpu()


def made(model, format_name, method=None, calibration=None, lines="", **options):
    rounder = Rounder(None if method is None else METHODS[method], calibration)
    selection = select_in_model(model, format_name, lines, REFERENCE)
    return quantize_model(model, selection, REFERENCE, rounder=rounder, **options)


def methods(model):
    return {name: entry.rounding for name, entry in model.model.x2v_plan.layers.items()}


@pytest.mark.parametrize("format_name", GAIN)
def test_gptq_is_nearer_on_noise_that_was_not_recorded(format_name, dense, recorded, sample):
    model = dense()
    wanted = sample(model, seed=7)
    found = {
        method: decibels(wanted, sample(made(model, format_name, method, recorded), seed=7))
        for method in ("nearest", "mse", "gptq")
    }
    print(format_name, {method: round(value, 1) for method, value in found.items()})
    assert found["gptq"] > max(found["nearest"], found["mse"]) + GAIN[format_name]


def test_auto_is_gptq_where_there_are_tokens(dense, recorded, contents, same):
    model = dense()
    by_name, by_itself = (made(model, INT4, method, recorded) for method in ("gptq", None))
    assert set(methods(by_itself).values()) == {"gptq"}
    assert same(contents(by_itself.model), contents(by_name.model))
    assert f"Rounded with GPTQ: {len(methods(by_itself))} layers." in by_itself.model.x2v_plan.notes


def test_a_layer_without_tokens_is_rounded_without(dense, recorded):
    """One that the sampler never called."""
    some = recorded.on_cpu()
    del some.inputs["blocks.0.ffn.0"], some.maxima["blocks.1.ffn.0"]
    found = methods(made(dense(), INT4, "gptq", some))
    assert {name for name, method in found.items() if method == "mse"} == {"blocks.0.ffn.0", "blocks.1.ffn.0"}
    assert set(found.values()) == {"gptq", "mse"}


@pytest.mark.parametrize("format_name", [INT8, "fp8-channel"])
def test_without_tokens_8_bits_are_what_they_were(format_name, dense, contents, same):
    model = dense()
    plain = quantize_model(model, select_in_model(model, format_name, "", REFERENCE), REFERENCE)
    found = made(model, format_name)
    assert same(contents(found.model), contents(plain.model))
    assert not found.model.x2v_plan.notes


def test_without_tokens_4_bits_get_better_scales(dense):
    found = made(dense(), INT4)
    assert set(methods(found).values()) == {"mse"}
    assert found.model.x2v_plan.notes == [f"Rounded with searched scales: {len(methods(found))} layers."]


def test_a_prompt_of_an_older_version_gets_what_it_got(dense, recorded, contents, same):
    """It has no rounding and no rotation, and its calibration may have tokens by now."""
    from x2v_quant.nodes.quantize import QuantizeModel

    model = dense()
    plain = quantize_model(model, select_in_model(model, INT4, "", REFERENCE), REFERENCE)
    for calibration in (None, recorded):
        (found,) = QuantizeModel.execute(model, INT4, scheme=REFERENCE, calibration=calibration).args
        assert same(contents(found.model), contents(plain.model))
    (found,) = QuantizeModel.execute(model, INT4, scheme=REFERENCE, calibration=recorded, rounding="auto").args
    assert set(methods(found).values()) == {"gptq"}


def test_a_smoothed_layer_is_rounded_after_smoothing(dense, recorded, sample):
    model = dense()
    wanted = sample(model, seed=7)
    selection = select_in_model(model, INT8, "", REFERENCE)
    results = []
    for method in ("nearest", "gptq"):
        smooth = quantize_model(
            model, selection, REFERENCE, Smoother(recorded, 0.5), Rounder(METHODS[method], recorded)
        )
        formats = {entry.choice.format for entry in smooth.model.x2v_plan.layers.values()}
        assert "int8-channel-smooth" in formats
        results.append(decibels(wanted, sample(smooth, seed=7)))
    print([round(value, 1) for value in results])
    assert results[1] > results[0] + 1


def test_a_reloaded_model_has_the_same_weights(dense, recorded, contents, same):
    found = made(dense(), INT4, "gptq", recorded)
    loader, arguments = found.cached_patcher_init[:2]
    assert same(contents(loader(*arguments).model), contents(found.model))


def test_layers_with_one_input_compute_its_curvature_once(dense, recorded, monkeypatch):
    counted = []
    compute = of_inputs.curvature
    monkeypatch.setattr(of_inputs, "curvature", lambda tokens: counted.append(1) or compute(tokens))
    model = made(dense(), INT4, "gptq", recorded)
    layers = methods(model)
    assert len(counted) == len({recorded.same_inputs(name) for name in layers}) < len(layers)


def test_a_lora_is_merged_before(dense, recorded, with_lora, sample):
    model = with_lora(dense())
    wanted = sample(model, seed=7)
    plain, gptq = (
        decibels(wanted, sample(made(model, INT4, method, recorded), seed=7)) for method in ("nearest", "gptq")
    )
    assert gptq > plain


def test_a_lora_beside_is_nearer_than_one_that_is_merged(dense, recorded, sample):
    """What Load LoRA's auto is for: merged into weights of 4 bits it undoes what GPTQ gained."""
    original = dense()
    model = made(original, INT4, "gptq", recorded)
    shapes = {name: shape_of(original.model.diffusion_model.get_submodule(name)) for name in methods(model)}
    tensors = small_wan.lora(shapes, strength=0.1)
    wanted = sample(apply_lora(original, tensors, "lora.safetensors")[0], seed=7)
    found = {
        mode: decibels(wanted, sample(apply_lora(model, tensors, "lora.safetensors", 1.0, mode)[0], seed=7))
        for mode in ("auto", "merge")
    }
    found["without"] = decibels(wanted, sample(model, seed=7))
    print({mode: round(value, 1) for mode, value in found.items()})
    assert found["auto"] > found["without"]
    assert found["auto"] > found["merge"] + 1


def test_a_saved_file_says_how_it_was_rounded(dense, recorded, with_lora, tmp_path):
    """A LoRA that is merged while saving is rounded with its layer, to the nearest."""
    model = made(dense(), INT4, "gptq", recorded, lines="ffn.2 = keep")
    count, methods_of = len(methods(model)), {}
    for name, saved in (("plain", model), ("lora", with_lora(model))):
        save_model(saved, tmp_path / f"{name}.safetensors", "x2v")
        with safe_open(tmp_path / f"{name}.safetensors", framework="pt") as file:
            found = Record.read(file.metadata())
        methods_of[name] = found.methods
        assert (found.calls, found.tokens) == (recorded.calls, TOKENS)
    assert methods_of == {"plain": {"gptq": count}, "lora": {"gptq": count - 2, "nearest": 2}}


def test_progress_counts_layers_and_estimates_time(dense, recorded):
    calls = []
    model = made(dense(), INT4, "gptq", recorded, progress=lambda *call: calls.append(call))
    done, total, left = zip(*calls, strict=True)
    assert list(done) == list(range(len(methods(model))))
    assert set(total) == {len(methods(model))}
    assert left[0] > left[-1] > 0


def test_where_nothing_takes_long_there_is_no_estimate_before(dense):
    calls = []
    made(dense(), INT8, progress=lambda *call: calls.append(call[2]))
    assert calls[0] is None and calls[-1] > 0


def test_the_largest_layer_of_wan_14b_needs_less_than_3_gb(recorded):
    """Counted: what core is asked to free before the first layer."""
    layer, shape, device = "blocks.0.ffn.2", (5120, 13824), torch.device("cuda")
    assert recorded.inputs[layer].shape[0] > 100
    assert 2e9 < Rounder(None, recorded).room(layer, shape, "w4a8", device) < 3e9
    assert Rounder(METHODS["nearest"], recorded).room(layer, shape, "nvfp4", device) < 0.8e9


@functools.cache
def without_tokens():
    calibration = Calibration(calls=1)
    calibration.add("blocks.0.ffn.0", torch.ones(128), torch.ones(128), 1)
    return calibration


@pytest.mark.parametrize(
    "calibration,words",
    [(None, "no calibration is connected"), (without_tokens, "this calibration has none")],
    ids=["no calibration", "no tokens"],
)
def test_gptq_without_tokens_is_refused(calibration, words, dense):
    with pytest.raises(QuantizeError, match=f"Rounding gptq needs .*{words}.* set rounding to auto"):
        made(dense(), INT4, "gptq", calibration and calibration())
