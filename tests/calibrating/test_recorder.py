"""Recording while core samples: every linear layer of any loader, nothing else, and nothing left behind."""

import pytest
import torch

from x2v_quant.calibrating.recorder import calibrated, is_linear, recording
from x2v_quant.loading import load_dit

pytestmark = pytest.mark.usefixtures("inference")


def linears(model):
    return {n: m for n, m in model.model.diffusion_model.named_modules() if is_linear(m)}


def watched(model, sample):
    """Layer -> [tokens, K], every input of one sampling run, by hooks of the test's own."""
    inputs = {}

    def watch(name):
        return lambda module, args: inputs.setdefault(name, []).append(args[0].float().reshape(-1, module.in_features))

    hooks = [module.register_forward_pre_hook(watch(name)) for name, module in linears(model).items()]
    latents = sample(model)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts) for name, parts in inputs.items()}, latents


@pytest.fixture(params=["core", "ours"])
def model(request, load_dense, wan_paths):
    return load_dense() if request.param == "core" else load_dit(wan_paths[1])


def test_it_records_every_layer_and_changes_nothing(model, sample):
    expected, latents = watched(model, sample)
    clone, calibration = calibrated(model)
    assert torch.equal(sample(clone), latents)
    assert calibration.calls >= 2
    assert calibration.maxima.keys() == expected.keys() == linears(model).keys()
    assert "blocks.0.self_attn.q" in calibration.maxima
    for name, x in expected.items():
        assert torch.equal(calibration.maxima[name], x.abs().amax(0))
        assert calibration.tokens[name] == x.shape[0]
        torch.testing.assert_close(calibration.deviations(name), x.square().mean(0).sqrt(), rtol=1e-3, atol=1e-6)
    calibration.check()


def test_only_the_clone_records(model, sample):
    _, calibration = calibrated(model)
    sample(model)
    assert (calibration.calls, calibration.maxima) == (0, {})


def test_further_runs_add_to_it(model, sample):
    clone, calibration = calibrated(model)
    sample(clone)
    before = calibration.on_cpu()
    sample(clone, seed=1)
    assert calibration.calls == 2 * before.calls
    assert all((calibration.maxima[name] >= maxima).all() for name, maxima in before.maxima.items())
    assert any(not torch.equal(calibration.maxima[name], maxima) for name, maxima in before.maxima.items())


def test_nothing_is_left_behind(model, sample):
    clone, _ = calibrated(model)
    sample(clone)
    assert not any(module._forward_pre_hooks for module in linears(model).values())


def test_a_run_that_breaks_off_leaves_nothing_behind(model):
    clone, calibration = calibrated(model)

    class Executor:
        class_obj = clone.model

        def __call__(self, *args):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recording(calibration)(Executor())
    assert not any(module._forward_pre_hooks for module in linears(model).values())
    assert calibration.calls == 0


def test_a_compiled_model_is_recorded_under_its_own_names(load_dense, sample):
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    model = load_dense()
    set_torch_compile_wrapper(model, backend="eager")
    clone, calibration = calibrated(model)
    sample(clone, steps=1)
    assert calibration.maxima.keys() == linears(model).keys()


def test_other_layers_of_core_are_linear_too():
    import comfy.ops

    mixed = comfy.ops.mixed_precision_ops({}, torch.float32).Linear(4, 5)
    mixed.load_state_dict({"weight": torch.zeros(5, 4), "bias": torch.zeros(5)})
    assert not isinstance(mixed, torch.nn.Linear)
    layers = (comfy.ops.disable_weight_init.Linear(4, 5), comfy.ops.manual_cast.Linear(4, 5), torch.nn.Linear(4, 5))
    assert all(map(is_linear, (mixed, *layers)))
    assert not is_linear(torch.nn.LayerNorm(4))
    assert not is_linear(torch.nn.Embedding(4, 5))
    assert not is_linear(torch.nn.Conv2d(4, 5, 1))
