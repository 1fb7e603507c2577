"""Quantize Model with a calibration: what smoothing makes of outliers, what it leaves alone, and what core does with a
smoothed model."""

import functools
import logging

import pytest
import torch
from distance import distance
from older_comfyui import core_rotates_int8
from safetensors import safe_open
from safetensors.torch import save_file

from x2v_quant.calibration import DEFAULT_ALPHA, Calibration, CalibrationError, smoothing_factor
from x2v_quant.calibration.recorder import calibrated
from x2v_quant.loading.dit import load_dit
from x2v_quant.quantizing import Smoother, quantize_model, select_in_model
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
# not every machine multiplies int8; this one quantizes activations everywhere
REFERENCE = SchemeChoice(dit="reference", compute_dtype="fp32")
# a power of two, so that the planted bfloat16 weights are the same numbers
CHANNELS, TIMES, FEWER_TIMES = [3, 40, 77, 101], 256.0, 16.0
# layers whose inputs get the outliers
PLANTED = ("cross_attn.q", "self_attn.o", "cross_attn.o")


@pytest.fixture(scope="session")
def planted_file(dense_file, tmp_path_factory):
    """planted_file(times) -> the trained model with outliers in the inputs of PLANTED; it computes what it did."""
    folder = tmp_path_factory.mktemp("planted")

    @functools.cache
    def write(times):
        with safe_open(dense_file, framework="pt") as file:
            metadata = file.metadata()
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - a file is no mapping
        for block in sorted({".".join(key.split(".")[:2]) for key in tensors if key.startswith("blocks.")}):
            for end in ("weight", "bias"):
                for layer in ("norm3", "self_attn.v", "cross_attn.v"):
                    tensors[f"{block}.{layer}.{end}"][CHANNELS] *= times
            for layer in PLANTED:
                tensors[f"{block}.{layer}.weight"][:, CHANNELS] /= times
        save_file(tensors, folder / f"{times}.safetensors", metadata)
        return str(folder / f"{times}.safetensors")

    return write


@pytest.fixture
def planted(planted_file):
    import comfy.sd

    return lambda times=TIMES: comfy.sd.load_diffusion_model(planted_file(times))


@pytest.fixture
def calibration_of(sample):
    """calibration_of(model) -> what its layers see in a step."""

    def run(model):
        clone, calibration = calibrated(model)
        sample(clone, steps=1)
        return calibration

    return run


@pytest.fixture(scope="session")
def kept():
    return {}


@pytest.fixture
def calibration(planted, calibration_of, kept):
    """Of the planted model."""
    if not kept:
        kept["planted"] = calibration_of(planted())
    return kept["planted"].on_cpu()


def smoothed(model, calibration, format_name="int8-channel", alpha=None, lines="", choice=REFERENCE):
    smoother = None if calibration is None else Smoother(calibration, alpha)
    return quantize_model(model, select_in_model(model, format_name, lines, choice), choice, smoother)


def formats(model):
    return {name: entry.choice.format for name, entry in model.model.x2v_plan.layers.items()}


@pytest.mark.parametrize("alpha", [None, DEFAULT_ALPHA], ids=["search", "alpha"])
def test_planted_outliers_cost_less_than_a_third(alpha, planted, calibration, sample):
    model = planted()
    wanted, made = sample(model), smoothed(model, calibration, alpha=alpha)
    plain, smooth = (distance(sample(quantized), wanted) for quantized in (smoothed(model, None), made))
    print(f"int8 {plain:.4f}, smoothed {smooth:.4f}")
    assert smooth <= plain / 3
    held = formats(made)
    assert {held[f"blocks.0.{layer}"] for layer in PLANTED} == {"int8-channel-smooth"}


@core_rotates_int8
def test_outliers_that_rotation_alone_only_spreads_are_smoothed_first(planted, calibration, sample):
    model = planted()
    wanted = sample(model)
    made = smoothed(model, calibration, "int8-convrot")
    both = distance(sample(made), wanted)
    rotated = distance(sample(smoothed(model, None, "int8-convrot")), wanted)
    print(f"rotated {rotated:.4f}, smoothed too {both:.4f}")
    assert both < rotated / 10
    held = formats(made)
    assert {held[f"blocks.0.{layer}"] for layer in PLANTED} == {"int8-convrot-64-smooth"}


@pytest.mark.parametrize("alpha", [None, DEFAULT_ALPHA], ids=["search", "alpha"])
@pytest.mark.parametrize("format_name", ["int8-channel", "fp8-channel"])
def test_without_outliers_it_costs_next_to_nothing(format_name, alpha, dense, calibration_of, sample):
    model = dense()
    calibration, wanted = calibration_of(model), sample(model)
    plain, smooth = (
        distance(sample(smoothed(model, seen, format_name, alpha)), wanted) for seen in (None, calibration)
    )
    print(f"{format_name} {plain:.4f}, smoothed {smooth:.4f}")
    assert smooth <= plain * 1.05


def test_the_report_names_what_is_smoothed_and_the_log_counts_it(planted, calibration, caplog):
    model = planted()
    with caplog.at_level(logging.INFO, "x2v-quant"):
        made = smoothed(model, calibration, lines="ffn.2 = fp8-channel\nffn.0 = nvfp4")
    lines = "\n".join(made.model.x2v_plan.lines())
    assert "layers int8-channel-smooth -> reference" in lines
    assert "converted" not in lines
    count = sum(name.endswith("-smooth") for name in formats(made).values())
    blocks = len(model.model.diffusion_model.blocks)
    assert f"{count} of {len(formats(made))} layers are smoothed." in caplog.text
    assert f"{blocks} layers are not smoothed: nvfp4 has no smoothing, only fp8-channel" in caplog.text


def test_a_format_that_cannot_be_smoothed_gives_what_it_gave(planted, calibration, contents, same):
    model = planted()
    plain, made = (smoothed(model, seen, "int4-g128") for seen in (None, calibration))
    assert same(contents(made.model), contents(plain.model))


def test_a_layer_that_was_never_called_is_quantized_and_named(planted, calibration, contents, same, caplog):
    model = planted()
    del calibration.maxima["blocks.1.cross_attn.q"]
    with caplog.at_level(logging.INFO, "x2v-quant"):
        made = smoothed(model, calibration)
    assert formats(made)["blocks.1.cross_attn.q"] == "int8-channel"
    assert formats(made)["blocks.0.cross_attn.q"] == "int8-channel-smooth"
    assert "1 layer is not smoothed: never called during calibration, blocks.1.cross_attn.q for inst" in caplog.text
    ours, plain = (m.model.diffusion_model.blocks[1].cross_attn.q for m in (made, smoothed(model, None)))
    assert same(contents(ours), contents(plain))


@pytest.mark.parametrize(
    "change,words",
    [
        (lambda c: c.maxima.clear(), "is empty: nothing was sampled"),
        (
            lambda c: c.maxima.update({"blocks.1.ffn.0": torch.ones(7)}),
            r"saw 7 input channels of layer blocks\.1\.ffn\.0, which has 128: .* Calibrate this one",
        ),
        (
            lambda c: (c.maxima.clear(), c.maxima.update({"layers.0.q": torch.ones(7)})),
            "knows none of the model's layers, blocks.0",
        ),
        (lambda c: c.maxima["blocks.0.ffn.0"].fill_(float("inf")), r"blocks\.0\.ffn\.0 got an input that is infinite"),
    ],
    ids=["empty", "width", "names", "infinite"],
)
def test_a_calibration_that_cannot_be_used_is_refused_at_once(change, words, planted, calibration, monkeypatch):
    change(calibration)
    monkeypatch.setattr("x2v_quant.quantizing.model.quantize_layer", None)
    with pytest.raises(CalibrationError, match=words):
        smoothed(planted(), calibration)


def test_core_loads_it_anew_as_it_was(planted, calibration, contents, same):
    made = smoothed(planted(), calibration)
    factory, arguments = made.cached_patcher_init
    again = factory(*arguments, disable_dynamic=True)
    assert formats(again) == formats(made)
    assert "int8-channel-smooth" in formats(again).values()
    assert same(contents(again.model), contents(made.model))


def test_behind_calibrate_it_records_no_more(planted, sample):
    """Whose MODEL is wired into Quantize Model makes no difference."""
    clone, calibration = calibrated(planted())
    sample(clone, steps=1)
    made, calls = smoothed(clone, calibration), calibration.calls
    sample(made, steps=1)
    assert calibration.calls == calls
    sample(clone, steps=1)
    assert calibration.calls == 2 * calls


def test_a_lora_behind_it_works_and_comes_off_again(planted, calibration, sample, with_lora, contents, same):
    model = planted()
    made = smoothed(model, calibration)
    before, output = contents(made.model), sample(made, steps=1)
    wanted, plain = sample(with_lora(model), steps=1), sample(model, steps=1)
    assert distance(sample(with_lora(made), steps=1), wanted) < 0.5 * distance(wanted, plain)
    assert torch.equal(sample(made, steps=1), output)
    assert same(contents(made.model), before)


def test_a_lora_in_front_of_it_is_baked_in(planted, calibration_of, sample, with_lora):
    model = with_lora(planted())
    wanted, plain = sample(model, steps=1), sample(planted(), steps=1)
    made = smoothed(model, calibration_of(model))
    assert formats(made)["blocks.0.cross_attn.q"] == "int8-channel-smooth"
    assert distance(sample(made, steps=1), wanted) < 0.5 * distance(wanted, plain)


def test_what_is_int8_already_is_smoothed_where_that_is_better(planted, calibration_of, sample):
    # so many that the weights' own codes still tell the planted channels
    int8 = smoothed(planted(FEWER_TIMES), None)
    exact = smoothed(int8, None, choice=SchemeChoice(dit="dequant", compute_dtype="fp32"))
    made = smoothed(int8, calibration_of(exact))
    assert formats(made)["blocks.0.cross_attn.q"] == "int8-channel-smooth"
    assert any("converted from int8-channel" in line for line in made.model.x2v_plan.lines())
    wanted, plain, smooth = (sample(model, steps=1) for model in (exact, int8, made))
    print(f"int8 {distance(plain, wanted):.4f}, smoothed {distance(smooth, wanted):.4f}")
    assert distance(smooth, wanted) < 0.5 * distance(plain, wanted)
    # the others keep their codes
    kept = [name for name, format_name in formats(made).items() if format_name == "int8-channel"]
    assert kept
    for name in kept:
        ours, theirs = (m.model.diffusion_model.get_submodule(name).weight for m in (made, int8))
        assert torch.equal(ours._qdata, theirs._qdata)


@pytest.mark.parametrize("lora", [False, True], ids=["as-it-is", "lora"])
@pytest.mark.parametrize("format_name", ["int8-channel", "fp8-channel"])
def test_what_is_smoothed_already_stays_smoothed(format_name, lora, planted, calibration, with_lora):
    first = smoothed(planted(), calibration)
    again = smoothed(with_lora(first) if lora else first, None, format_name)
    for name, held in formats(first).items():
        assert formats(again)[name] == held.replace("int8-channel", format_name)
        ours, theirs = (m.model.diffusion_model.get_submodule(name).weight for m in (again, first))
        if held.endswith("-smooth"):
            assert torch.equal(ours._params.pre_quant_scale, theirs._params.pre_quant_scale)


def test_a_layer_that_is_kept_is_not_smoothed(planted, calibration):
    int8 = smoothed(planted(), None)
    made = smoothed(int8, calibration, lines="cross_attn.q = keep")
    assert formats(made)["blocks.0.cross_attn.q"] == "int8-channel"
    assert formats(made)["blocks.0.self_attn.o"] == "int8-channel-smooth"


def test_a_saved_model_loads_as_the_same(planted, calibration, sample, tmp_path):
    """What ModelSave does."""
    import comfy.sd

    made = smoothed(planted(), calibration)
    path = str(tmp_path / "saved.safetensors")
    comfy.sd.save_checkpoint(path, made)
    loaded = load_dit(path, REFERENCE)
    assert formats(loaded) == formats(made)
    assert distance(sample(loaded, steps=1), sample(made, steps=1)) < 1e-3


def test_a_calibration_from_its_file_gives_the_same(planted, calibration, contents, same, tmp_path):
    model = planted()
    calibration.save(tmp_path / "calibration.safetensors")
    made = smoothed(model, Calibration.load(tmp_path / "calibration.safetensors"))
    assert same(contents(made.model), contents(smoothed(model, calibration).model))


@pytest.mark.parametrize("alpha", [0.5, DEFAULT_ALPHA])
def test_a_given_alpha_is_the_one_that_is_taken(alpha, planted, calibration):
    layer = planted().model.diffusion_model.blocks[0].cross_attn.q
    weight, maxima = layer.weight.float(), calibration.maxima["blocks.0.cross_attn.q"]
    found = Smoother(calibration, alpha).pre_quant_scale("blocks.0.cross_attn.q", weight, "int8-channel")
    assert torch.equal(found, smoothing_factor(maxima, weight.abs().amax(0), alpha))
