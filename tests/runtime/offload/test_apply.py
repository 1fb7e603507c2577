"""Offloaded models sample what they sample on auto."""

import pytest
import small_wan
import torch
from comfy.model_management import module_size
from comfy.patcher_extension import WrappersMP

from x2v_quant.demo import assets
from x2v_quant.linear.layers import is_linear
from x2v_quant.runtime.offload import OffloadSettings
from x2v_quant.runtime.offload.apply import KEY, offloaded, offloaded_encoder
from x2v_quant.runtime.offload.blocks import blocks_of
from x2v_quant.runtime.offload.state import ATTACHMENT, offload_state

pytestmark = pytest.mark.usefixtures("inference")
MODES = ("auto", "block", "phase", "disk")


@pytest.mark.parametrize("kind", [assets.ORIGINAL, "int8", "fp8"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("share", [None, 0.05, 0.5, 0.8, 2.0])
def test_latents_are_the_same_bit_for_bit(kind, mode, share, model, sample, offload_on_cpu):
    original = model(kind)
    expected = sample(original)
    size = original.model_size()
    settings = OffloadSettings(mode, budget_gb=None if share is None else size * share / 1e9)
    made = offload_on_cpu(original, settings)
    assert torch.equal(sample(made), expected)
    assert torch.equal(sample(original), expected)


def streamer_of(model):
    """Of an offloaded model that has sampled."""
    streaming = model.wrappers[WrappersMP.APPLY_MODEL][KEY][0]
    return next(iter(streaming._streamers.values()))[0]


@pytest.mark.parametrize("stays", [0, 1, 2.5, 3.9])
def test_core_loads_whole_blocks_from_the_first_within_the_budget(stays, model, sample, offload_on_cpu):
    original = model("int8")
    parts = blocks_of(original.model.diffusion_model)
    block = module_size(parts[0].module)
    buffers = 2 * offload_on_cpu(original, OffloadSettings("block")).get_attachment(ATTACHMENT).sizes[0]
    others = original.model_size() - sum(module_size(part.module) for part in parts)
    budget = others + buffers + stays * block
    made = offload_on_cpu(original, OffloadSettings("block", budget_gb=(budget + 1) / 1e9))
    sample(made)
    names = [part.name for part in parts]
    assert streamer_of(made).names == names[int(stays) :]
    loaded = made.model.model_loaded_weight_memory
    assert budget - buffers - block < loaded <= budget - buffers + 1
    resident = original.model.diffusion_model.blocks[: int(stays)]
    assert all(module.comfy_patched_weights for block in resident for module in block.modules() if is_linear(module))


def test_without_a_budget_all_blocks_stream_and_nothing_else(model, sample, offload_on_cpu):
    made = offload_on_cpu(model("int8"), OffloadSettings("block"))
    sample(made)
    assert len(streamer_of(made).names) == len(made.model.diffusion_model.blocks)
    loaded = {
        name
        for name, module in made.model.named_modules()
        if getattr(module, "comfy_patched_weights", False) and list(module.parameters())
    }
    assert {"diffusion_model.head.head", "diffusion_model.time_projection.1"} <= loaded
    assert not [name for name in loaded if name.startswith("diffusion_model.blocks.")]


def test_phases_stream_in_smaller_buffers(model, sample, offload_on_cpu):
    original = model("int8")
    blocks, phases = (offload_on_cpu(original, OffloadSettings(mode)) for mode in ("block", "phase"))
    sample(phases)
    assert len(streamer_of(phases).names) == 3 * len(original.model.diffusion_model.blocks)
    assert max(phases.get_attachment(ATTACHMENT).sizes) < 0.6 * max(blocks.get_attachment(ATTACHMENT).sizes)


@pytest.mark.parametrize("mode", ["block", "disk"])
def test_a_lora_is_applied_to_what_streams(mode, model, sample, offload_on_cpu):
    import comfy.sd

    original = model("int8")
    on = ("blocks.0.self_attn.q", "blocks.2.ffn.0", "head.head")
    layers = original.model.diffusion_model
    lora = small_wan.lora({name: layers.get_submodule(name).weight.shape for name in on}, strength=1.0)
    plain = sample(original)
    # what stays is the same, what does not is brought by core, which applies a LoRA on the way
    core = offload_on_cpu(original, OffloadSettings(mode))
    core.remove_wrappers_with_key(WrappersMP.APPLY_MODEL, KEY)
    expected = sample(comfy.sd.load_lora_for_models(core, None, lora, 1.0, 0)[0])
    made = comfy.sd.load_lora_for_models(offload_on_cpu(original, OffloadSettings(mode)), None, lora, 1.0, 0)[0]
    assert torch.equal(sample(made), expected)
    assert not torch.equal(expected, plain)
    assert torch.equal(sample(original), plain)


@pytest.mark.parametrize("mode", ["block", "disk"])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_run_that_breaks_off_leaves_everything_as_it_was(error, mode, model, sample, offload_on_cpu):
    original = model("fp8")
    expected = sample(original)
    made = offload_on_cpu(original, OffloadSettings(mode))

    def fail(*_):
        raise error

    hook = made.model.diffusion_model.blocks[1].cross_attn.register_forward_hook(fail)
    with pytest.raises(error):
        sample(made)
    hook.remove()
    assert not any(module._forward_pre_hooks for module in made.model.modules())
    with pytest.raises(error):
        sample(made, callback=fail)
    assert torch.equal(sample(made), expected)
    assert torch.equal(sample(original), expected)


def test_auto_leaves_the_model_alone(model):
    original = model("int8")
    assert offloaded(original, OffloadSettings()) is original


def test_auto_takes_an_earlier_control_off(model, sample, offload_on_cpu):
    original = model("int8")
    expected = sample(original)
    made = offloaded(offload_on_cpu(original, OffloadSettings("block")), OffloadSettings())
    assert type(made) is type(original)
    assert offload_state(made) is None and not made.get_all_wrappers(WrappersMP.APPLY_MODEL)
    assert torch.equal(sample(made), expected)


@pytest.mark.parametrize("mode", ["model", "block", "phase"])
def test_on_a_cpu_there_is_nothing_to_move_and_it_says_so(mode, model, sample, caplog):
    original = model("int8")
    expected = sample(original)
    made = offloaded(original, OffloadSettings(mode))
    assert "runs on the CPU" in caplog.text and f"{mode} is treated as auto" in caplog.text
    assert offload_state(made).notes
    assert torch.equal(sample(made), expected)


def test_a_model_without_blocks_says_so_and_runs(model, sample, caplog):
    original = model("int8")
    original.model.diffusion_model.blocks = torch.nn.Sequential(*original.model.diffusion_model.blocks)
    made = offloaded(original, OffloadSettings("block"))
    assert "has no blocks to offload one by one" in caplog.text
    sample(made)


def test_clones_of_an_offloaded_model_stay_offloaded(model, offload_on_cpu):
    made = offload_on_cpu(model("int8"), OffloadSettings("block", budget_gb=1.0))
    assert type(made.clone()) is type(made)
    assert made.clone().get_attachment(ATTACHMENT) is made.get_attachment(ATTACHMENT)


def loaded():
    """The modules that core has loaded."""
    import comfy.model_management

    return [entry.model.model for entry in comfy.model_management.current_loaded_models if entry.model is not None]


def test_a_model_that_is_there_only_while_it_samples(model, sample):
    import comfy.model_management

    comfy.model_management.unload_all_models()
    stays, goes = model("int8"), model("fp8")
    made = offloaded(goes, OffloadSettings("model"))
    sample(stays)
    sample(made)
    assert loaded() == [stays.model]
    with pytest.raises(ZeroDivisionError):
        sample(made, callback=lambda *_: 1 / 0)
    assert loaded() == [stays.model]


@pytest.mark.parametrize(("mode", "left"), [("model", False), ("auto", True), ("disk", True)])
def test_an_encoder_leaves_before_the_diffusion_model_comes(mode, left, model, sample, demo_models):
    import comfy.model_management

    from x2v_quant.loading.t5 import load_t5

    comfy.model_management.unload_all_models()
    settings = OffloadSettings("block", t5=mode)
    clip = load_t5(str(demo_models / "text_encoders" / assets.names("int8").t5))
    assert offloaded_encoder(clip, settings.encoder("t5")) is clip
    clip.encode_from_tokens(clip.tokenize("a red circle"))
    assert clip.cond_stage_model in loaded()
    sample(offloaded(model("int8"), settings))
    assert (clip.cond_stage_model in loaded()) is left
    # and comes again
    clip.encode_from_tokens(clip.tokenize("a blue square"))


@pytest.mark.parametrize("whole", [True, False])
def test_a_compiled_model_streams_uncompiled(whole, model, sample, offload_on_cpu):
    from comfy_api.torch_helpers.torch_compile import set_torch_compile_wrapper

    original = model("int8")
    expected = sample(original)
    for first in ("compiled", "offloaded"):
        made = original.clone()
        keys = ["diffusion_model"] if whole else [f"diffusion_model.blocks.{index}" for index in range(4)]
        if first == "compiled":
            set_torch_compile_wrapper(made, backend="aot_eager", keys=keys)
        made = offload_on_cpu(made, OffloadSettings("block"))
        if first == "offloaded":
            set_torch_compile_wrapper(made, backend="aot_eager", keys=keys)
        for _ in range(2):
            assert torch.equal(sample(made), expected)
        assert len(streamer_of(made).names) == 4
