"""MODELs whose layers share their inputs sample what they sample without, and leave nothing behind."""

import gc
import threading
import weakref

import comfy.model_management
import comfy.ops
import comfy.sd
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers import set_torch_compile_wrapper
from older_comfyui import core_multiplies_int8
from small_wan import of_first_block

from x2v_quant.demo import assets
from x2v_quant.formats import FORMATS
from x2v_quant.kernels.shared_input import ACTIVE, QuantizedInput, SharedInputs
from x2v_quant.runtime.sharing import shared_activations
from x2v_quant.runtime.sharing.apply import WRAPPER_KEY
from x2v_quant.runtime.sharing.groups import found_in

pytestmark = pytest.mark.usefixtures("inference")
# fp8-reduced is no file's: it is made for kernels of some GPUs
# groups of 1024 channels and more are wider than the model
WIDE = {name for name, row in FORMATS.items() if row.settings.get("convrot_groupsize", 0) > 256}
QUANTIZING = [name for name, row in FORMATS.items() if not row.activation.startswith(("float", "fp8-reduced"))]
QUANTIZING = [name for name in QUANTIZING if name not in WIDE]
BLOCKS = 2


def wrapper_of(model):
    return model.get_wrappers(WrappersMP.APPLY_MODEL, WRAPPER_KEY)


@pytest.mark.parametrize("format_name", QUANTIZING)
def test_latents_are_the_same_bit_for_bit(format_name, load, sample, ops_called):
    model = load(format_name)
    made, notes = shared_activations(model)
    with ops_called() as plain:
        expected = sample(model)
    with ops_called() as shared:
        got = sample(made)
    assert torch.equal(got, expected)
    linears = plain.count["reference linear"]
    quantized, left = shared.count["reference quantize"], shared.count["reference linear"]
    # of ten layers in a block q, k, v and k, v share; the factors of a smoothed cross-attention differ here
    assert shared.count["reference multiply"] + left == linears > 0
    pairs = 0 if FORMATS[format_name].smooth else 1
    assert (quantized, left) == (linears * (1 + pairs) // 10, linears * (7 - 2 * pairs) // 10)
    assert f"{BLOCKS} x q, k, v of WanSelfAttention quantize their input once" in notes
    assert torch.equal(sample(model), expected)


@pytest.mark.parametrize("batch,cfg", [(1, 1.0), (3, 2.0)])
def test_batches(batch, cfg, load, sample):
    model = load()
    made, _ = shared_activations(model)
    assert torch.equal(sample(made, batch=batch, cfg=cfg), sample(model, batch=batch, cfg=cfg))


def test_torchao_quantizes_once(load, sample, ops_called):
    """A library's kernel, on this very machine."""
    model = load("int8-channel", "int8-torchao")
    made, _ = shared_activations(model)
    expected = sample(model, steps=1)
    with ops_called() as called:
        assert torch.equal(sample(made, steps=1), expected)
    assert called.count["torchao multiply"] == called.count["torchao linear"]
    assert called.count["torchao quantize"] * 5 == called.count["torchao multiply"] * 2


def test_scales_of_their_own_are_not_shared(load, sample, ops_called):
    made, notes = shared_activations(load("int8-channel-smooth"))
    assert f"not shared in {BLOCKS} modules: k, v have a pre_quant_scale of their own each" in notes
    assert [found.name for found in found_in(made.model.diffusion_model) if found.groups] == [
        f"blocks.{index}.self_attn" for index in range(BLOCKS)
    ]


@pytest.mark.parametrize(
    "scheme,words",
    [("dequant", "does not quantize"), pytest.param("int8-comfyui", "in the call that", marks=core_multiplies_int8)],
)
def test_kernels_in_one_step_are_left_out_in_words(scheme, words, load, sample):
    model = load("int8-channel", scheme, "fp32")  # what core's int8 kernel computes on a CPU
    made, notes = shared_activations(model)
    assert any(words in note for note in notes)
    assert torch.equal(sample(made, steps=1), sample(model, steps=1))


def test_a_model_of_cores_is_told(demo_models, sample):
    path = demo_models / "diffusion_models" / assets.names(assets.ORIGINAL).t2v
    _, notes = shared_activations(comfy.sd.load_diffusion_model(str(path)))
    assert notes == ["nothing is shared: this pack multiplies no layer of this model"]


@pytest.mark.parametrize("bypass", [False, True], ids=["merged", "beside"])
@pytest.mark.parametrize("order", ["lora first", "lora last"])
def test_loras(bypass, order, load, sample, lora, ops_called):
    def patched(model):
        apply = comfy.sd.load_bypass_lora_for_models if bypass else comfy.sd.load_lora_for_models
        return apply(model, None, lora, 1.0, 0)[0]

    model = load()
    plain = sample(model)
    with_lora = patched(model)
    expected = sample(with_lora)
    assert not torch.equal(expected, plain)
    made = shared_activations(with_lora)[0] if order == "lora first" else patched(shared_activations(model)[0])
    with ops_called() as called:
        assert torch.equal(sample(made), expected)
    assert called.count["reference quantize"] > 0
    assert torch.equal(sample(shared_activations(model)[0]), plain)


def test_clones_side_by_side(load, sample, lora):
    """Two branches of one graph over the same modules, one with and one without, in turns."""
    model = load()
    made, _ = shared_activations(model)
    other = comfy.sd.load_lora_for_models(made, None, lora, 0.5, 0)[0]
    first, second = sample(model), sample(other)
    assert torch.equal(sample(made), first)
    assert torch.equal(sample(other), second)
    assert wrapper_of(made) and not wrapper_of(model)


def hooks_of(model):
    modules = model.model.diffusion_model.modules()
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)


def test_nothing_stays(load, sample, monkeypatch):
    kept = []
    init = QuantizedInput.__init__

    def noted(self, group, input, *rest):
        init(self, group, input, *rest)
        kept.append(weakref.ref(self))

    monkeypatch.setattr(QuantizedInput, "__init__", noted)
    made, _ = shared_activations(load())
    sample(made, steps=1)
    assert kept and not any(ref() for ref in kept)
    assert hooks_of(made) == 0
    assert ACTIVE.get() is None


class StoppedError(Exception):
    pass


def test_an_exception_leaves_nothing(load, sample):
    model = load()
    made, _ = shared_activations(model)
    expected = sample(model)

    def stop(module, args):
        raise StoppedError

    hook = of_first_block(made, "self_attn.norm_k").register_forward_pre_hook(stop)
    with pytest.raises(StoppedError):
        sample(made)
    hook.remove()
    gc.collect()
    assert hooks_of(made) == 0
    assert ACTIVE.get() is None
    assert torch.equal(sample(made), expected)


def test_threads_share_nothing(load):
    """One module in two threads at a time: as on several GPUs, but worse."""
    model = load()
    made, _ = shared_activations(model)
    comfy.model_management.load_models_gpu([made])
    (wrapper,) = wrapper_of(made)
    inputs = [torch.randn((1, 16, 2, 8, 8), generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    prompt = torch.randn((1, 16, 64), generator=torch.Generator().manual_seed(9))
    time = torch.tensor([500.0])

    def call(x):
        with torch.inference_mode():
            return made.model.diffusion_model(x, time, prompt)

    class Executor:
        class_obj = made.model

        def __call__(self, x, *args, **kwargs):
            return call(x)

    expected = [call(x) for x in inputs]
    got = [None] * len(inputs)

    def work(index):
        with torch.inference_mode():
            got[index] = wrapper(Executor(), inputs[index], time)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert hooks_of(made) == 0


def test_compiled_blocks_are_left_alone(load, sample, ops_called):
    torch._dynamo.reset()
    model = load()
    expected = sample(model, steps=1)
    made, _ = shared_activations(model)
    keys = [f"diffusion_model.blocks.{index}" for index in range(BLOCKS)]
    set_torch_compile_wrapper(made, backend="eager", keys=keys)
    with ops_called() as called:
        got = sample(made, steps=1)
    torch._dynamo.reset()
    assert called.count["reference quantize"] == 0
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


def test_a_write_outside_inference_mode_is_seen(load):
    """Where tensors count their writes, they are asked."""
    model = load()
    attention = of_first_block(model, "self_attn")
    group = (attention.q, attention.k, attention.v)
    with torch.inference_mode(False), torch.no_grad():
        x = torch.randn((1, 6, 256), generator=torch.Generator().manual_seed(3))
        shared = SharedInputs()
        shared.enter(dict.fromkeys(group, group))
        token = ACTIVE.set(shared)
        try:
            attention.q(x)
            attention.k(x)
            x.mul_(2)
            written = attention.v(x)
        finally:
            ACTIVE.reset(token)
        assert (shared.quantized, shared.reused) == (2, 1)
        assert torch.equal(written, attention.v(x))
