"""The benchmark of the patch compares runs that give the same latents."""

import pytest
import torch

from x2v_quant.benchmarks import sampler_patch
from x2v_quant.kernels.timing.clock import QUICK


@pytest.mark.usefixtures("inference")
def test_every_part_but_high_precision_gives_the_latents_of_the_model(load, sample):
    model = load()
    expected, variants = sample(model), sampler_patch.variants(model)
    same = {name for name, variant in variants.items() if torch.equal(sample(variant), expected)}
    assert same == variants.keys() - {"all steps in high precision"}
    assert variants["everything off"] is model


def test_a_case_for_every_part():
    cases = sampler_patch.cases(QUICK)
    parts = ["everything off", "NaN guard", "step report", "all steps in high precision", "shared activations"]
    assert [case.name.split(", ")[-1].removesuffix(f" vs {sampler_patch.PEER}") for case in cases] == parts
    assert all(case.ours > 0 and case.theirs > 0 and case.unit == "s" for case in cases)
    assert [case.target is not None for case in cases] == [True, True, False, False, True]
