"""The verdict: which layers it names, and in which words."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x2v_quant.comparing.layers import Layer
from x2v_quant.comparing.verdict import MOST, NOISE, ROUNDING, verdict, worst
from x2v_quant.layer_rules import parse_overrides

ratios = st.one_of(st.floats(-20, 120), st.just(math.inf), st.just(-math.inf))


def layers_of(snrs):
    noise = {math.inf: 0.0, -math.inf: math.inf}
    return [
        Layer(f"blocks.{number}.ffn.0", (8, 8), "bfloat16", "int8", 1.0, noise.get(snr, 10 ** (-snr / 10)))
        for number, snr in enumerate(snrs)
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(ratios, max_size=60))
def test_the_noisiest_are_kept_and_few(snrs):
    layers = layers_of(snrs)
    kept = worst(layers)
    noisy = [layer for layer in layers if layer.snr < ROUNDING]
    assert len(kept) <= math.ceil(MOST * len(noisy))
    assert bool(kept) == bool(noisy)
    assert kept == sorted(kept, key=lambda layer: layer.snr)
    rest = [layer for layer in noisy if layer not in kept]
    assert all(layer.snr >= kept[-1].snr for layer in rest)
    total = sum(layer.share for layer in noisy)
    if rest and total < math.inf and len(kept) < math.ceil(MOST * len(noisy)):
        assert sum(layer.share for layer in kept) >= NOISE * total


@settings(max_examples=30, deadline=None)
@given(st.lists(ratios, min_size=1, max_size=60))
def test_lines_are_those_of_quantize_model(snrs):
    found = verdict([0.1], 0.1, None, None, layers_of(snrs))
    rules = parse_overrides("\n".join(found.lines))
    assert [(rule.pattern, rule.format) for rule in rules] == [(layer.name, "keep") for layer in worst(layers_of(snrs))]


EVEN = layers_of([40.0] * 20)


@pytest.mark.parametrize(
    "steps,result,psnr,ssim,layers,words",
    [
        ([0, 0], 0, None, None, layers_of([math.inf] * 3), "all 2 steps, the result and the outputs of 3 layers"),
        ([0.1, 0.3, 0.2], 0.15, None, None, EVEN, "15.00% off at the end, at most 30.00% on the way (step 2 of 3)"),
        ([0.1], 0.15, None, None, EVEN, "The result is 15.00% off. Connect a VAE"),
        ([0.1, math.nan, math.nan], math.nan, None, None, EVEN, "Broken: from step 2 on the latents are infinite"),
        ([0.1], math.nan, None, None, EVEN, "Broken: the result is infinite or not a number"),
        ([0.1], 0.1, 45.0, 0.99, EVEN, "Hardly visible: PSNR 45.0 dB, SSIM 0.9900.\n"),
        ([0.1], 0.1, 32.0, None, EVEN, "Visible in details: PSNR 32.0 dB.\n"),
        ([0.1], 0.1, 3.0, 0.1, EVEN, "Clearly different: PSNR 3.0 dB"),
        ([0.1], 0.1, math.inf, 1.0, EVEN, "Not visible: the decoded results are the same, bit for bit"),
        ([0.1], 0.1, -math.inf, math.nan, EVEN, "Broken: the decoded result is infinite or not a number"),
        ([0.1], 0.1, None, None, EVEN, "\nNo layer is much worse than the others (median 40.0 dB)"),
        ([0.1], 0.1, None, None, EVEN, "The 2 layers to keep make 10% of the error of all 20 layers, with 10.0% of"),
        ([0.1], 0.1, None, None, layers_of([30.0] + [40.0] * 19), "\nKeep in high precision: blocks.0.ffn.0 (30.0 dB)"),
        ([0.1], 0.1, None, None, layers_of([ROUNDING + 1, math.inf]), "No layer differs by more than the rounding"),
        ([0.1], 0.1, None, None, layers_of([40.0] * 50), "blocks.2.ffn.0 (40.0 dB) and 2 more"),
    ],
)  # fmt: skip
def test_words(steps, result, psnr, ssim, layers, words):
    assert words in verdict(steps, result, psnr, ssim, layers).words


def test_the_same_steps_with_other_layers_are_not_identical():
    assert not verdict([0.0], 0.0, None, None, layers_of([ROUNDING])).identical
    assert verdict([0.0], 0.0, None, None, layers_of([math.inf])).identical
