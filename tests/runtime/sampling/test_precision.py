"""High precision by step and layer, while core samples with one set of modules."""

import threading

import pytest
import torch
from comfy.patcher_extension import WrappersMP

from x2v_quant.linear.layers import our_layers
from x2v_quant.runtime.sampling import PrecisionSchedule, ScheduleError, StepReport, patched
from x2v_quant.runtime.sampling.high_precision import in_high_precision
from x2v_quant.runtime.sampling.run import Follower, Precision, SamplerRun
from x2v_quant.runtime.sampling.schedule import parse_layers

pytestmark = pytest.mark.usefixtures("inference")

ALL_STEPS = {
    "first": PrecisionSchedule(first=4),
    "last": PrecisionSchedule(last=9),
    "both": PrecisionSchedule(first=2, last=2),
    "part": PrecisionSchedule(start=0.0, end=1.0),
    "layers": PrecisionSchedule(patterns=parse_layers("blocks.0\nblocks.1")),
}


def kernels(model):
    return {name: layer.kernel for name, layer in our_layers(model.model.diffusion_model).items()}


@pytest.fixture
def seen(sample):
    """seen(model, **how to sample) -> for each evaluation {layer: name of the kernel that it ran with}"""

    def run(model, **how):
        found = []

        def hook(name):
            def note(layer, args):
                if not found or name in found[-1]:
                    found.append({})
                found[-1][name] = layer.kernel.name

            return note

        layers = our_layers(model.model.diffusion_model)
        hooks = [layer.register_forward_pre_hook(hook(name)) for name, layer in layers.items()]
        sample(model, **how)
        for each in hooks:
            each.remove()
        return found

    return run


def test_everything_off_is_the_model_itself(load):
    model = load()
    assert patched(model) is model
    assert patched(model, PrecisionSchedule(start=0.4, end=0.4)) is model


@pytest.mark.parametrize("schedule", ALL_STEPS.values(), ids=ALL_STEPS)
def test_all_steps_in_high_precision_are_scheme_dequant(schedule, load, sample):
    model = load()
    before, dequantized = sample(model), sample(load(scheme="dequant"))
    assert not torch.equal(before, dequantized)
    assert torch.equal(sample(patched(model, schedule)), dequantized)
    assert torch.equal(sample(model), before)


@pytest.mark.parametrize("format_name", ["fp8-channel", "fp8-block128", "nvfp4"])
def test_in_every_kind_of_format(format_name, load, sample):
    assert torch.equal(
        sample(patched(load(format_name), ALL_STEPS["first"])), sample(load(format_name, scheme="dequant"))
    )


def test_with_a_lora(load, sample):
    def with_lora(model):
        key = "diffusion_model.blocks.0.ffn.0.weight"
        delta = torch.randn(model.get_key_patches()[key][0][0].shape, generator=torch.Generator().manual_seed(1))
        model = model.clone()
        assert model.add_patches({key: ("diff", (0.1 * delta,))}) == [key]
        return model

    quantized, dequantized = with_lora(load()), with_lora(load(scheme="dequant"))
    assert not torch.equal(sample(dequantized), sample(load(scheme="dequant")))
    assert torch.equal(sample(patched(quantized, ALL_STEPS["both"])), sample(dequantized))


def test_only_the_scheduled_steps(load, seen):
    found = seen(patched(load(), PrecisionSchedule(first=1, last=2)), steps=5)
    assert [set(step.values()) for step in found] == [
        {"dequant"}, {"reference"}, {"reference"}, {"dequant"}, {"dequant"},
    ]  # fmt: skip


def test_only_the_named_layers(load, seen):
    for step in seen(patched(load(), PrecisionSchedule(patterns=parse_layers("blocks.0.ffn, cross_attn.k")))):
        high = {name for name, kernel in step.items() if kernel == "dequant"}
        assert high == {"blocks.0.ffn.0", "blocks.0.ffn.2", "blocks.0.cross_attn.k", "blocks.1.cross_attn.k"}
        assert len(step) == 20


@pytest.mark.parametrize(
    "sampler",
    ["euler", "heun", "heunpp2", "dpm_2", "dpmpp_2s_ancestral", "dpmpp_sde", "dpm_adaptive", "seeds_3",
     "sa_solver_pece", "uni_pc"],
)  # fmt: skip
def test_every_evaluation_is_in_the_step_of_its_noise_level(sampler, load, sample):
    """Samplers tell the end of a step before, between or after its evaluations."""
    model, levels, found = patched(load(), PrecisionSchedule(first=1, last=1)), [], []
    layer = model.model.diffusion_model.get_submodule("blocks.0.ffn.0")

    def begun(executor, guider, sigmas, *args, **kwargs):
        levels.extend(sigmas.tolist())
        return executor(guider, sigmas, *args, **kwargs)

    def note(executor, x, t, *args, **kwargs):
        found.append((float(t[0]), layer.kernel.name))
        return executor(x, t, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, "test", begun)
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", note)
    sample(model, sampler=sampler)
    _, second, *_, last, end = levels
    assert end < last < second
    for sigma, kernel in found:
        high = sigma > second * 1.0001 or sigma < last * 1.0001
        assert kernel == ("dequant" if high else "reference"), sigma


@pytest.mark.parametrize(
    "sigmas,told,sigma,step",
    [
        ([1.0, 0.8, 0.5, 0.0], 0, 1.0, 0),
        ([1.0, 0.8, 0.5, 0.0], 1, 0.9, 0),
        ([1.0, 0.8, 0.5, 0.0], 0, 0.8000001, 1),
        ([1.0, 0.8, 0.5, 0.0], 2, 0.01, 2),
        ([1.0, 0.8, 0.5], 1, 0.5, 1),
        ([0.8, 0.5], 0, 1.2, 0),
        ([0.0, 0.5, 0.8, 1.0], 1, 0.5, 1),
        ([0.0, 0.5, 0.8, 1.0], 0, 0.0, 0),
        ([1.0, 0.5, 0.9, 0.4], 0, 0.9, 0),
        ([1.0, 0.5, 0.9, 0.4], 2, 0.9, 2),
    ],
)
def test_the_step_of_a_noise_level(sigmas, told, sigma, step):
    assert SamplerRun(sigmas, (False,) * (len(sigmas) - 1), told).step_at(sigma) == step


def test_steps_that_are_alike_do_not_wait_for_the_gpu(load, sample, monkeypatch):
    def looked(*_):
        raise AssertionError

    monkeypatch.setattr(SamplerRun, "step_at", looked)
    for schedule in (ALL_STEPS["first"], ALL_STEPS["layers"]):
        sample(patched(load(), schedule, report=StepReport()))


def test_a_schedule_between_the_two_lies_between(load, sample):
    quantized, dequantized = sample(load()), sample(load(scheme="dequant"))
    mixed = sample(patched(load(), PrecisionSchedule(first=2)))
    assert 0 < (mixed - dequantized).norm() < (quantized - dequantized).norm()


def test_two_clones_of_one_model_take_turns(load, sample):
    model = load()
    first, layers = patched(model, PrecisionSchedule(first=1)), patched(model, ALL_STEPS["layers"])
    both = patched(first, ALL_STEPS["layers"])
    alone = {id(m): sample(m) for m in (model, first, layers)}
    for m in (layers, first, model, first, layers):
        assert torch.equal(sample(m), alone[id(m)])
    assert torch.equal(sample(both), alone[id(layers)])


def test_nothing_is_left_behind(load, sample):
    model = load()
    before = kernels(model)
    clone = patched(model, PrecisionSchedule(first=1))
    sample(clone)
    assert kernels(model) == before

    def interrupt(step, denoised, x, total):
        raise KeyboardInterrupt

    import comfy.sample

    noise = torch.zeros((1, 16, 1, 8, 8))
    prompt = [[torch.zeros((1, 9, 64)), {}]]
    with pytest.raises(KeyboardInterrupt):
        comfy.sample.sample(
            clone, noise, 2, 1.0, "euler", "simple", prompt, prompt, noise, callback=interrupt, disable_pbar=True
        )
    assert kernels(model) == before


def test_weight_only_kernels_keep_multiplying_as_they_do(load):
    model = load("int4-g128")
    before = kernels(model)
    assert {kernel.name for kernel in before.values()} == {"reference"}
    with in_high_precision(our_layers(model.model.diffusion_model).values()):
        assert kernels(model) == before


def test_threads_with_a_model_each_do_not_meet(load):
    """As core calls the models of several GPUs."""
    follower = Follower(PrecisionSchedule(first=1))
    follower.run = SamplerRun([1.0, 0.5, 0.0], (True, False))
    models, meet, inside = [load().model, load().model], threading.Barrier(2, timeout=60), []

    class Executor:
        def __init__(self, model):
            self.class_obj = model

        def __call__(self, x, t):
            meet.wait()
            inside.append({layer.kernel.name for layer in our_layers(self.class_obj.diffusion_model).values()})
            meet.wait()

    apply = Precision(follower).apply
    threads = [threading.Thread(target=apply, args=[Executor(model), None, torch.ones(1)]) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside == [{"dequant"}, {"dequant"}]
    for model in models:
        assert {layer.kernel.name for layer in our_layers(model.diffusion_model).values()} == {"reference"}


def test_compiled_layers_follow_it_and_are_compiled_once_for_each_precision(load, sample):
    from comfy_api.torch_helpers import set_torch_compile_wrapper
    from torch._dynamo.testing import CompileCounter

    schedule = PrecisionSchedule(first=1, last=1)
    expected = sample(patched(load(), schedule))
    torch._dynamo.reset()
    counter, model = CompileCounter(), load()
    set_torch_compile_wrapper(model, backend=counter, keys=["diffusion_model.blocks.0.ffn.0"])
    clone = patched(model, schedule)
    for _ in range(2):
        torch.testing.assert_close(sample(clone), expected)
        assert counter.frame_count == 2
    torch._dynamo.reset()


def test_with_shared_activations(load, sample):
    from x2v_quant.runtime.sharing import shared_activations

    schedule = PrecisionSchedule(first=1, patterns=parse_layers("blocks.0.self_attn.k"))
    expected, model = sample(patched(load(), schedule)), load()
    for clone in (shared_activations(patched(model, schedule))[0], patched(shared_activations(model)[0], schedule)):
        assert torch.equal(sample(clone), expected)


def test_core_models_have_nothing_to_schedule(wan_files):
    import json

    import comfy.sd
    import comfy.utils

    config = {"config": json.dumps({"transformer": {"text_dim": 64}})}
    tensors = comfy.utils.load_torch_file(wan_files["int8-channel"][0])
    with pytest.raises(ScheduleError, match="Quantize Model"):
        patched(comfy.sd.load_diffusion_model_state_dict(tensors, metadata=config), PrecisionSchedule(first=1))


@pytest.mark.slow
def test_blocks_are_compiled_once_for_each_precision(load, sample):
    from x2v_quant.runtime.compiling import compilations_of, compiled

    schedule = PrecisionSchedule(first=1, last=1)
    expected = sample(patched(load(), schedule))
    torch._dynamo.reset()
    report = StepReport()
    clone, _ = compiled(patched(load(), schedule, report=report), backend="eager")
    torch.testing.assert_close(sample(clone), expected, rtol=1e-3, atol=1e-3)
    graphs = compilations_of(clone).graphs
    torch.testing.assert_close(sample(clone), expected, rtol=1e-3, atol=1e-3)
    assert compilations_of(clone).graphs == graphs
    assert list(compilations_of(clone).again) == [2]
    assert [run.work for run in report.runs] == [{}, {}]
    torch._dynamo.reset()
