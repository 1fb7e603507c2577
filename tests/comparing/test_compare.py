"""Two forms of the demo's model: what is found, what is blamed, and what is refused."""

import json
import math

import pytest
import small_wan
import torch

from x2v_quant.comparing.errors import CompareError

pytestmark = pytest.mark.usefixtures("inference")

LAYERS = 46
BAD = ["blocks.0.self_attn.q", "blocks.2.ffn.2", "blocks.3.cross_attn.k"]


def by_name(report):
    return {layer.name: layer for layer in report.layers}


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral", "heun"])
def test_a_model_is_identical_to_itself(dense, compare, sampler):
    report = compare(dense, dense, sampler_name=sampler)
    assert report.steps == (0.0,) * 4
    assert report.result == 0
    assert len(report.layers) == LAYERS
    assert all(layer.snr == math.inf for layer in report.layers)
    assert report.verdict.identical and report.verdict.lines == ()
    assert report.verdict.words.startswith("Identical: ")


def test_identical_to_another_load_and_in_its_pictures(dense, dense_file, vae, compare):
    import comfy.sd

    report = compare(dense, comfy.sd.load_diffusion_model(dense_file), vae)
    assert report.verdict.identical
    assert (report.psnr, report.ssim) == (math.inf, pytest.approx(1))
    assert report.as_dict()["psnr_db"] is None


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_layer_is_named_first_and_keeping_it_helps(dense, quantized, compare, bad):
    planted = f"{bad} = int4-g128"
    report = compare(dense, quantized(planted))
    assert report.verdict.lines[0] == f"{bad} = keep"
    assert f"Keep in high precision: {bad} (" in report.verdict.words
    assert by_name(report)[bad].candidate.startswith("int4-g128 on ")
    kept = compare(dense, quantized("\n".join([planted, *report.verdict.lines])))
    assert kept.result < report.result
    assert max(kept.steps) < max(report.steps)


def test_keeping_the_worst_of_an_even_model_helps(dense, quantized, compare):
    report = compare(dense, quantized(format_name="fp8-channel"))
    assert 1 <= len(report.verdict.lines) <= 0.1 * LAYERS + 1
    kept = compare(dense, quantized("\n".join(report.verdict.lines), "fp8-channel"))
    assert kept.result < report.result


@pytest.mark.parametrize("share", [0.1, 0.01])
def test_only_the_layer_that_differs_is_blamed(dense, patched, compare, share):
    """Layers behind it get other inputs in the candidate's own run, but are shown the reference's."""
    report = compare(dense, patched("blocks.1.ffn.0", share))
    found = by_name(report)
    assert {name for name, layer in found.items() if layer.noise} == {"blocks.1.ffn.0"}
    assert found["blocks.1.ffn.0"].snr == pytest.approx(-20 * math.log10(share), abs=1)  # but for the bias
    assert report.result > 0 and all(report.steps)


def test_a_lora_beside_the_weights_is_the_one_in_them(dense, compare):
    import comfy.sd

    name = "blocks.0.self_attn.q"
    k = dense.model.diffusion_model.get_submodule(name).in_features
    lora = small_wan.lora({name: (k, k)}, strength=1.0)
    merged, _ = comfy.sd.load_lora_for_models(dense, None, lora, 1.0, 0)
    beside, _ = comfy.sd.load_bypass_lora_for_models(dense, None, lora, 1.0, 0)
    assert by_name(compare(dense, merged))[name].snr < 20
    assert by_name(compare(dense, beside))[name].snr < 20
    assert by_name(compare(merged, beside))[name].snr > 50


def test_errors_stand_at_their_steps(dense, compare):
    """A candidate that goes wrong at the third of four steps and at no other."""
    calls = []

    def wrong(apply, given):
        calls.append(float(given["timestep"][0]))
        predicted = apply(given["input"], given["timestep"], **given["c"])
        third = len(set(calls)) == 3
        return predicted * 1.1 if third else predicted

    candidate = dense.clone()
    candidate.set_model_unet_function_wrapper(wrong)
    steps = compare(dense, candidate).steps
    assert steps[:2] == (0, 0)
    assert steps[2] > 0.005 and steps[3] > 0
    assert steps[3] != steps[2]


def test_decoded_results_are_compared(dense, quantized, vae, compare):
    report = compare(dense, quantized(format_name="nvfp4"), vae)
    assert 5 < report.psnr < 60
    assert 0 < report.ssim < 1
    assert f"PSNR {report.psnr:.1f} dB" in report.verdict.words


def test_what_is_no_number_is_said(dense, compare):
    candidate = dense.clone()
    name = "diffusion_model.blocks.2.ffn.2.weight"
    candidate.add_patches({name: (torch.full((128, 512), math.nan),)})
    report = compare(dense, candidate)
    assert "Broken: from step 1 on the latents are infinite or not a number." in report.verdict.words
    assert report.verdict.lines == ("blocks.2.ffn.2 = keep",)
    assert by_name(report)["blocks.2.ffn.2"].snr == -math.inf
    json.dumps(report.as_dict(), allow_nan=False)


def test_models_stay_as_they_are(dense, quantized, compare):
    import comfy.patcher_extension

    candidate = quantized()
    compare(dense, candidate)
    for patcher in (dense, candidate):
        assert not any(module._forward_hooks for module in patcher.model.diffusion_model.modules())
        assert not patcher.get_all_wrappers(comfy.patcher_extension.WrappersMP.APPLY_MODEL)


def test_an_interruption_passes_and_leaves_nothing_behind(dense, job):
    import comfy.model_management

    from x2v_quant.comparing.compare import compare

    def interrupt(done, total, x0):
        if done == 2:
            comfy.model_management.interrupt_current_processing()

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        compare(dense, dense, job(), tick=interrupt)
    assert not any(module._forward_hooks for module in dense.model.diffusion_model.modules())


def test_progress_counts_both_models(dense, job):
    from x2v_quant.comparing.compare import compare

    ticks = []
    compare(dense, dense, job(), tick=lambda done, total, x0: ticks.append((done, total, x0.shape)))
    assert ticks == [(step, 8, (1, 16, 2, 8, 8)) for step in range(1, 9)]


def test_other_layers_are_refused(dense, demo_models, compare):
    import comfy.sd

    i2v = comfy.sd.load_diffusion_model(str(demo_models / "diffusion_models" / "x2v_demo_i2v_bf16.safetensors"))
    with pytest.raises(CompareError, match=r"do not match: the reference has no layer .*k_img"):
        compare(dense, i2v)
    with pytest.raises(CompareError, match=r"do not match: the candidate has no layer .*k_img"):
        compare(i2v, dense)


def test_other_sizes_are_refused():
    from types import SimpleNamespace

    from x2v_quant.comparing.compare import matching_sizes

    narrow, wide = (
        SimpleNamespace(model=SimpleNamespace(diffusion_model=torch.nn.Sequential(torch.nn.Linear(8, n))))
        for n in (16, 32)
    )
    with pytest.raises(CompareError, match="layer 0 is 16 x 8 in the reference and 32 x 8 in the candidate"):
        matching_sizes(narrow, wide)


def test_another_shift_is_refused(dense, compare):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    with pytest.raises(CompareError, match=r"different noise levels\. Put the same ModelSampling node"):
        compare(dense, ModelSamplingSD3().patch(dense, 3.0)[0])


@pytest.mark.parametrize(
    "changes,words",
    [({"denoise": 0.0}, "nothing to sample"), ({"sampler_name": "dpm_adaptive"}, "dpm_adaptive chooses")],
)
def test_settings_without_steps_are_refused(dense, compare, changes, words):
    with pytest.raises(CompareError, match=words):
        compare(dense, dense, **changes)


@pytest.mark.parametrize(
    "total,steps", [(1, (0,)), (2, (0, 1)), (3, (0, 1, 2)), (4, (0, 2, 3)), (20, (0, 10, 19)), (50, (0, 24, 49))]
)
def test_layers_are_compared_at_the_ends_and_between(total, steps):
    from x2v_quant.comparing.compare import spread

    assert spread(total) == steps
