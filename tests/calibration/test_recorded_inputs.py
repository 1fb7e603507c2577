"""Tokens of layers' inputs while core samples: which, how many, what layers share, and runs that did not finish."""

import pytest
import torch
from comfy_execution.utils import CurrentNodeContext

from x2v_quant.calibration.recorder import calibrated
from x2v_quant.linear.layers import linear_layers
from x2v_quant.loading.dit import load_dit

pytestmark = pytest.mark.usefixtures("inference")
ALL = 100_000


@pytest.fixture(params=["core", "ours"])
def model(request, load_dense, wan_paths):
    return load_dense() if request.param == "core" else load_dit(wan_paths[1])


def watched(model, sample, **options):
    """Layer -> the distinct tokens of all its inputs, in 16 bits, by hooks of the test's own."""
    layers = linear_layers(model.model.diffusion_model)
    inputs = {name: [] for name in layers}

    def watch(name):
        return lambda module, args: inputs[name].append(args[0].reshape(-1, module.in_features).bfloat16())

    hooks = [module.register_forward_pre_hook(watch(name)) for name, module in layers.items()]
    sample(model, **options)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts).float().unique(dim=0) for name, parts in inputs.items()}


def test_with_room_for_all_it_has_every_distinct_token(model, sample):
    expected = watched(model, sample)
    clone, calibration = calibrated(model, ALL)
    sample(clone)
    assert calibration.inputs.keys() == calibration.maxima.keys() == expected.keys()
    for name, tokens in expected.items():
        kept = calibration.inputs_of(name)
        assert kept.dtype in (torch.bfloat16, torch.float16)
        assert torch.equal(kept.float().unique(dim=0), tokens), name
        assert len(kept) == len(tokens)


def test_there_are_no_more_than_asked_for(model, sample):
    expected = watched(model, sample)
    clone, calibration = calibrated(model, 20)
    sample(clone)
    for name, tokens in expected.items():
        kept = calibration.inputs_of(name).float()
        assert len(kept) == min(20, len(tokens))
        assert len(torch.cat([kept, tokens]).unique(dim=0)) == len(tokens)


def test_the_same_run_gives_the_same(model, sample):
    (first, one), (second, other) = calibrated(model, 20), calibrated(model, 20)
    sample(first)
    sample(second)
    assert all(torch.equal(one.inputs_of(name), other.inputs_of(name)) for name in one.maxima)


def test_none_are_recorded_unless_asked_for(model, sample):
    clone, calibration = calibrated(model)
    sample(clone, steps=1)
    assert calibration.maxima
    assert calibration.inputs == {}


def test_layers_that_get_the_same_have_one_key(model, sample):
    clone, calibration = calibrated(model, 50)
    sample(clone)
    same = calibration.same_inputs
    for block in ("blocks.0", "blocks.1"):
        assert same(f"{block}.self_attn.q") == same(f"{block}.self_attn.k") == same(f"{block}.self_attn.v")
        assert same(f"{block}.cross_attn.k") == same(f"{block}.cross_attn.v")
    assert same("blocks.0.cross_attn.k") == same("blocks.1.cross_attn.k")
    assert same("blocks.0.self_attn.q") != same("blocks.1.self_attn.q")
    others = ("self_attn.q", "self_attn.o", "cross_attn.q", "cross_attn.k", "cross_attn.o", "ffn.0", "ffn.2")
    assert len({same(f"blocks.0.{name}") for name in others}) == len(others)


def test_a_prompt_counts_once_in_all_steps(model, sample):
    """Of two prompts with 9 tokens each, a positive and a negative one."""
    clone, calibration = calibrated(model, 50)
    sample(clone, steps=4)
    assert len(calibration.inputs_of("blocks.0.cross_attn.k")) <= 18


def test_a_run_that_did_not_finish_leaves_none(model, sample):
    clone, calibration = calibrated(model, 20)

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(clone, callback=stop)
    assert calibration.inputs == {}
    with CurrentNodeContext("one", "first"):
        sample(clone)
    before = {name: calibration.inputs_of(name) for name in calibration.inputs}
    with CurrentNodeContext("one", "second"), pytest.raises(KeyboardInterrupt):
        sample(clone, seed=1)
        sample(clone, seed=2, callback=stop)
    assert all(torch.equal(calibration.inputs_of(name), tokens) for name, tokens in before.items())


def test_a_further_run_adds_to_it_and_leaves_copies_alone(model, sample):
    clone, calibration = calibrated(model, 20)
    sample(clone)
    copy = calibration.on_cpu()
    kept = copy.inputs_of("blocks.0.ffn.0")
    sample(clone, seed=1)
    assert torch.equal(copy.inputs_of("blocks.0.ffn.0"), kept)
    assert not torch.equal(calibration.inputs_of("blocks.0.ffn.0"), kept)


def test_a_compiled_model_is_recorded_under_its_own_names(load_dense, sample):
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    model = load_dense()
    set_torch_compile_wrapper(model, backend="eager")
    clone, calibration = calibrated(model, 20)
    sample(clone, steps=1)
    assert calibration.inputs.keys() == linear_layers(load_dense().model.diffusion_model).keys()
