"""Recording while core samples: every linear layer of any loader, nothing else, and nothing left behind."""

import comfy.model_management
import pytest
import torch
from comfy_execution.utils import CurrentNodeContext

from x2v_quant.calibration.recorder import Recorder, calibrated
from x2v_quant.linear.layers import is_linear
from x2v_quant.loading.dit import load_dit
from x2v_quant.runtime.sampling.nan_guard import NonFiniteError
from x2v_quant.runtime.sampling.patch import patched

pytestmark = pytest.mark.usefixtures("inference")
BROKEN = (
    comfy.model_management.InterruptProcessingException(),
    KeyboardInterrupt(),
    torch.OutOfMemoryError("on purpose"),
    RuntimeError("on purpose"),
)


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
        Recorder(calibration).call(Executor())
    assert not any(module._forward_pre_hooks for module in linears(model).values())
    assert calibration.calls == 0


def breaking(error, at=1):
    """A sampler's callback that ends the run behind step `at`, from 0."""

    def callback(step, *_):
        if step == at:
            raise error

    return callback


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: type(error).__name__)
def test_a_run_that_did_not_finish_is_not_counted(error, model, sample):
    wanted = calibrated(model)
    sample(wanted[0], steps=4)
    clone, calibration = calibrated(model)
    with pytest.raises(type(error)):
        sample(clone, steps=4, callback=breaking(error))
    assert (calibration.calls, calibration.maxima, calibration.squares, calibration.tokens) == (0, {}, {}, {})
    sample(clone, steps=4)
    assert same(calibration, wanted[1])


def test_what_was_recorded_before_stays(model, sample):
    clone, calibration = calibrated(model)
    sample(clone)
    before = calibration.on_cpu()
    with pytest.raises(KeyboardInterrupt):
        sample(clone, seed=1, callback=breaking(KeyboardInterrupt()))
    assert same(calibration, before)


def test_a_layer_that_fails_in_the_middle_of_a_call_leaves_nothing(model, sample):
    clone, calibration = calibrated(model)

    def fail(*_):
        raise torch.OutOfMemoryError("on purpose")

    hook = model.model.diffusion_model.blocks[1].ffn[0].register_forward_pre_hook(fail)
    with pytest.raises(torch.OutOfMemoryError):
        sample(clone)
    hook.remove()
    assert (calibration.calls, calibration.maxima) == (0, {})


def test_the_nan_guard_ends_a_run_that_leaves_nothing(model, sample):
    clone, calibration = calibrated(patched(model, nan_guard=True))

    def spoil(module, args, output):
        return output * float("nan")

    hook = model.model.diffusion_model.head.head.register_forward_hook(spoil)
    with pytest.raises(NonFiniteError):
        sample(clone)
    hook.remove()
    assert (calibration.calls, calibration.maxima) == (0, {})


def test_a_node_that_samples_several_times_counts_once_it_is_through(model, sample):
    clone, calibration = calibrated(model)
    with CurrentNodeContext("one", "first"):
        sample(clone)
    kept = calibration.on_cpu()
    with CurrentNodeContext("one", "second"), pytest.raises(KeyboardInterrupt):
        sample(clone, seed=1)
        sample(clone, seed=2, callback=breaking(KeyboardInterrupt()))
    assert same(calibration, kept)
    with CurrentNodeContext("two", "second"):
        sample(clone, seed=1)
        sample(clone, seed=2)
    assert calibration.calls == 3 * kept.calls


def same(a, b):
    return (a.calls, a.tokens, a.maxima.keys()) == (b.calls, b.tokens, b.maxima.keys()) and all(
        torch.equal(a.maxima[name], b.maxima[name]) and torch.equal(a.squares[name], b.squares[name])
        for name in a.maxima
    )


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
