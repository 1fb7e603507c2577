"""A run that goes wrong stops at the step, and the message names what began it."""

from dataclasses import replace

import pytest
import small_wan
import torch

from x2v_quant.benchmarks.wan import WanSize
from x2v_quant.demo import assets
from x2v_quant.formats import format_of
from x2v_quant.loading.dit import load_dit
from x2v_quant.runtime.sampling import NonFiniteError, PrecisionSchedule, patched
from x2v_quant.runtime.sampling.nan_search import BETWEEN, LAYER, Culprit
from x2v_quant.runtime.sampling.nan_words import sentence
from x2v_quant.runtime.sampling.run import SamplerRun
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")

NAN = float("nan")
SIZE = WanSize(blocks=2)


def layer(model, name):
    return model.model.diffusion_model.get_submodule(name)


def bad_weight(model):
    layer(model, "blocks.1.ffn.2").bias.data[3] = NAN


def bad_scale(model):
    layer(model, "blocks.0.self_attn.k").weight._params.scale[5] = NAN


def bad_plain_weight(model):
    layer(model, "text_embedding.0").weight.data[0, 0] = float("inf")


def overflow(model):
    layer(model, "blocks.1.ffn.2").weight._params.scale.fill_(1e36)


def bad_modulation(model):
    layer(model, "blocks.0").modulation.data.fill_(NAN)


# what is spoilt -> what the message says
CAUSES = {
    "weight": (bad_weight, r"weights of layer blocks\.1\.ffn\.2 .*int8-channel on reference.*x2v-quant inspect"),
    "scale": (bad_scale, r"weights of layer blocks\.0\.self_attn\.k .*int8-channel on reference"),
    "plain weight": (bad_plain_weight, r"weights of layer text_embedding\.0 .*It is not quantized\."),
    "layer": (overflow, r"layer blocks\.1\.ffn\.2 is the first whose output.*in float32.*high_precision_layers"),
    "between": (bad_modulation, r"input of layer blocks\.0\.self_attn\.\w+ .*after blocks\.0\.norm1.*attention"),
}  # fmt: skip


@pytest.mark.parametrize("spoil,message", CAUSES.values(), ids=CAUSES)
def test_the_layer_is_named(spoil, message, load, sample):
    model = load()
    spoil(model)
    assert not sample(model).isfinite().all()
    with pytest.raises(NonFiniteError, match=message) as error:
        sample(patched(model, nan_guard=True))
    assert str(error.value).startswith("Step 1 of 4 (sigma 1)")


def test_a_lora_beside_the_weights_may_be_it(load, sample):
    import comfy.sd

    model = load()
    lora = small_wan.lora({"blocks.0.ffn.0": (SIZE.ffn, SIZE.dim)})
    lora["diffusion_model.blocks.0.ffn.0.lora_A.weight"][0] = NAN
    bypassed, _ = comfy.sd.load_bypass_lora_for_models(model, None, lora, 1.0, 0)
    with pytest.raises(NonFiniteError, match=r"layer blocks\.0\.ffn\.0 is the first .*take bypass LoRAs off"):
        sample(patched(bypassed, nan_guard=True))


def test_the_step_is_named(load, sample):
    model, calls = load(), []

    def spoil(module, args):
        calls.append(1)
        return (args[0] / 0,) if len(calls) >= 3 else args

    hook = layer(model, "blocks.0.ffn.0").register_forward_pre_hook(spoil)
    with pytest.raises(NonFiniteError, match=r"Step 3 of 4 .*input of layer blocks\.0\.ffn\.0"):
        sample(patched(model, nan_guard=True))
    hook.remove()
    assert len(calls) == 4


def test_the_step_is_that_of_the_noise_level(load, sample):
    """The sampler has told the end of its first step before it evaluates the model once more in the middle of it."""
    model, calls = load(), []

    def spoil(module, args):
        calls.append(1)
        return (args[0] / 0,) if len(calls) >= 2 else args

    hook = layer(model, "blocks.0.ffn.0").register_forward_pre_hook(spoil)
    with pytest.raises(NonFiniteError, match=r"^Step 1 of 4 \(sigma 0\.9999\)"):
        sample(patched(model, nan_guard=True), sampler="dpmpp_2s_ancestral")
    hook.remove()


def test_what_came_in(load, sample):
    guarded, noise = patched(load(), nan_guard=True), torch.zeros((1, 16, 1, 8, 8))
    noise[0, 3] = NAN
    with pytest.raises(NonFiniteError, match="latent that came in"):
        sample(guarded, noise=noise)


def test_conditioning(load, sample):
    import comfy.sample

    guarded, noise = patched(load(), nan_guard=True), torch.zeros((1, 16, 1, 8, 8))
    prompt = [[torch.full((1, 9, 64), NAN), {}]]
    with pytest.raises(NonFiniteError, match=r"conditioning that came in.*text encoder"):
        comfy.sample.sample(guarded, noise, 2, 1.0, "euler", "simple", prompt, prompt, noise, disable_pbar=True)


def test_what_no_layer_has_done(load, sample):
    guarded = patched(load(), nan_guard=True)
    guarded.set_model_sampler_post_cfg_function(lambda args: args["denoised"] / 0)
    with pytest.raises(NonFiniteError, match=r"every layer gives numbers.*guidance"):
        sample(guarded)


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_it_changes_nothing_and_looks_once_per_step(cfg, load, sample):
    class Looks(torch.overrides.TorchFunctionMode):
        def __init__(self):
            super().__init__()
            self.looks = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            self.looks += function is torch.Tensor.isfinite
            return function(*args, **(kwargs or {}))

    model = load()
    evaluations = []
    count = model.model.diffusion_model.register_forward_pre_hook(lambda *_: evaluations.append(1))
    expected = sample(model, cfg=cfg)
    alone = len(evaluations)
    with Looks() as mode:
        assert torch.equal(sample(patched(model, nan_guard=True), cfg=cfg), expected)
    count.remove()
    assert mode.looks == 4
    assert len(evaluations) == 2 * alone


def test_nothing_is_left_behind(load, sample):
    model = load()
    bad_weight(model)
    with pytest.raises(NonFiniteError):
        sample(patched(model, PrecisionSchedule(first=1), nan_guard=True))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.modules())
    assert {e.kernel.name for e in model.model.diffusion_model.modules() if getattr(e, "kernel", None)} == {"reference"}


def test_a_step_in_high_precision_says_so(load, sample):
    model = load()
    overflow(model)
    with pytest.raises(NonFiniteError, match="planned as int8-channel on reference, in this step by dequant"):
        sample(patched(model, PrecisionSchedule(first=1), nan_guard=True))


def test_a_compiled_model_is_searched_too(load, sample):
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    torch._dynamo.reset()
    model = load()
    bad_weight(model)
    set_torch_compile_wrapper(model, backend="eager", keys=["diffusion_model.blocks.1.ffn.2"])
    with pytest.raises(NonFiniteError, match=r"layer blocks\.1\.ffn\.2 "):
        sample(patched(model, nan_guard=True))
    torch._dynamo.reset()


def test_of_two_models_the_one_that_failed_is_described(demo_models):
    """The main one is core's, and so has no plan."""
    import comfy.sd
    from comfy_extras.nodes_custom_sampler import DualModelGuider, RandomNoise, SamplerCustomAdvanced

    dense, int8 = (demo_models / "diffusion_models" / assets.names(kind).t2v for kind in (assets.ORIGINAL, assets.INT8))
    main = comfy.sd.load_diffusion_model(str(dense))
    negative = load_dit(str(int8), SchemeChoice(dit="reference", compute_dtype="fp32"))
    overflow(negative)
    width = negative.model.diffusion_model.text_embedding[0].in_features
    text = [[torch.randn((1, 9, width), generator=torch.Generator().manual_seed(0)), {}]]
    (guider,) = DualModelGuider.execute(patched(main, nan_guard=True), text, 3.0, negative, text).args
    (noise,) = RandomNoise.execute(0).args
    sampler, sigmas = comfy.samplers.sampler_object("euler"), torch.tensor([1.0, 0.5, 0.0])
    with pytest.raises(NonFiniteError, match=r"layer blocks\.1\.ffn\.2 .*it is planned as int8-channel on reference"):
        SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, {"samples": torch.zeros(small_wan.IMAGE)})


@pytest.mark.parametrize(
    "culprit,advised",
    [
        (Culprit(LAYER, "blocks.0.ffn.0", "", 2.0, torch.bfloat16, "reference"), False),
        (Culprit(LAYER, "blocks.0.ffn.0", "", 5e4, torch.float16, "reference"), True),
        (Culprit(LAYER, "head.head", "", 2.0, torch.float16, None), True),
        (Culprit(BETWEEN, "blocks.0.ffn.0", "blocks.0.norm2", 2.0, torch.float16, "reference"), True),
    ],
)
def test_a_wider_dtype_is_advised_where_it_helps(culprit, advised, load):
    model = load()
    assert format_of(layer(model, "blocks.0.ffn.0").weight).name == "int8-channel"
    planned = replace(culprit, plan=model.model.x2v_plan)
    text = sentence(planned, SamplerRun([1.0, 0.0], (False,)), 1.0)
    assert ("bf16 or fp32" in text) == advised
