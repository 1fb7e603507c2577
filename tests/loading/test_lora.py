"""LoRA, saving and partial loading through core's own patcher."""

import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from distance import distance
from small_wan import saved_by_core

from x2v_quant.core.features import requantizes_with_params, rotates_int8
from x2v_quant.formats import format_of
from x2v_quant.formats.requantize import kept_beside
from x2v_quant.linear import quant_linear
from x2v_quant.loading.dit import load_dit
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
# format in the file -> scheme: the reference leaves every layout as it is held
SCHEMES = {
    "int8-channel": "auto",
    "int8-convrot": "auto",
    "int8-convrot-64": "int8-convrot-reference",
    "w4a8": "auto",
    "w4a8-64": "w4a8-reference",
    "fp8-channel": "auto",
    "fp8-block128": "auto",
    "fp8-tensor": "auto",
    "int4-g128": "auto",
    "int4-g128-marlin": "reference",
    "mxfp8": "auto",
    "nvfp4": "auto",
}
if not rotates_int8():
    SCHEMES = {name: scheme for name, scheme in SCHEMES.items() if "convrot" not in name}
# error of the latents, as a share of what the LoRA does to them: 4 bits, rounded once more, are nearly as far off
SHARES = {"w4a8": 0.75, "w4a8-64": 0.75, "int4-g128": 0.75, "int4-g128-marlin": 0.75, "nvfp4": 0.75}
SHARE_OF_8_BITS = 0.25
every_format = pytest.mark.parametrize("format_name", SCHEMES)


@pytest.fixture
def load(wan_files):
    """load(format name, path=None) -> the small model of that format, or the file at `path`."""
    return lambda name, path=None: load_dit(path or wan_files[name][1], SchemeChoice(dit=SCHEMES[name]))


def apply(model, lora, strength=1.0):
    import comfy.sd

    return comfy.sd.load_lora_for_models(model, None, lora, strength, 0)[0]


def snapshot(model):
    """Every quantized weight's bytes and scale."""
    return {
        name: bytes_of(module.weight)
        for name, module in model.model.diffusion_model.named_modules()
        if isinstance(getattr(module, "weight", None), QuantizedTensor)
    }


def bytes_of(weight):
    row = format_of(weight)
    return [part.detach().clone().reshape(-1).view(torch.uint8) for part in row.parts(weight._qdata, weight._params)]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def equal(a, b):
    return set(a) == set(b) and all(same(a[name], b[name]) for name in a)


def along(got, wanted):
    """How much of the change that was wanted is in the one that was got: 1 for all of it, 0 for none, whatever noise
    the format adds beside it."""
    return ((got * wanted).sum() / wanted.square().sum()).item()


@every_format
def test_lora_does_what_it_does_on_the_unquantized_model(format_name, wan_files, load, load_dense, sample, lora):
    dense, model = load_dense(wan_files[format_name][0]), load(format_name)
    plain = sample(dense)
    wanted = sample(apply(dense, lora()))
    before = sample(model)
    got = sample(apply(model, lora()))
    effect = distance(wanted, plain)
    assert effect > 0.1
    assert distance(got, wanted) < SHARES.get(format_name, SHARE_OF_8_BITS) * effect
    assert 0.8 < along(got - before, wanted - plain) < 1.2


@every_format
def test_lora_removed_restores_the_weights_bit_for_bit(format_name, load, sample, lora):
    model = load(format_name)
    before, output = snapshot(model), sample(model)
    patched = apply(model, lora())
    sample(patched)
    assert not equal(snapshot(patched), before)
    after = sample(model)
    assert equal(snapshot(model), before)
    assert torch.equal(after, output)


@every_format
def test_bypass_lora_leaves_the_weights_alone(format_name, wan_files, load, load_dense, sample, lora):
    import comfy.sd

    model = load(format_name)
    before = snapshot(model)
    bypassed, _ = comfy.sd.load_bypass_lora_for_models(model, None, lora(), 1.0, 0)
    got = sample(bypassed)
    assert equal(snapshot(model), before)
    dense = load_dense(wan_files[format_name][0])
    plain = sample(dense)
    wanted = sample(apply(dense, lora()))
    assert distance(got, wanted) < SHARES.get(format_name, SHARE_OF_8_BITS) * distance(plain, wanted)
    assert 0.8 < along(got - sample(model), wanted - plain) < 1.2


@every_format
def test_lora_saved_and_reloaded_gives_the_same_output(format_name, load, sample, lora, tmp_path):
    patched = apply(load(format_name), lora())
    output = sample(patched)
    reloaded = load(format_name, saved_by_core(patched, tmp_path / "saved.safetensors"))
    assert {e.choice.format for e in reloaded.model.x2v_plan.layers.values()} == {format_name}
    assert torch.equal(sample(reloaded), output)


@every_format
def test_saving_before_the_first_run_merges_the_lora_too(format_name, load, sample, lora, tmp_path):
    patched = apply(load(format_name), lora())
    path = saved_by_core(patched, tmp_path / "saved.safetensors")
    assert torch.equal(sample(load(format_name, path)), sample(patched))


def load_partially(model, share):
    """Keep `share` of the weights on the device, leave the rest to be streamed."""
    model.model_patches_to(model.load_device)
    model.patch_model(model.load_device, lowvram_model_memory=int(share * model.model_size()))
    return [
        name
        for name, module in model.model.diffusion_model.named_modules()
        if hasattr(module, "prev_comfy_cast_weights") and isinstance(module.weight, QuantizedTensor)
    ]


@every_format
@pytest.mark.parametrize("with_lora", [False, True], ids=["plain", "lora"])
@pytest.mark.parametrize("share", [1e-6, 0.5])
def test_partial_loading_gives_the_same_output(format_name, load, with_lora, share, lora):
    """The model function itself, so that nothing loads the model whole in between."""

    def output(model):
        generator = torch.Generator().manual_seed(0)
        x, context = torch.randn((1, 16, 2, 8, 8), generator=generator), torch.randn((1, 64, 64), generator=generator)
        return model.model.diffusion_model(x, torch.tensor([500.0]), context)

    def fresh():
        model = load(format_name)
        return apply(model, lora()) if with_lora else model

    whole = fresh()
    whole.patch_model(whole.load_device)
    partial = fresh()
    streamed = load_partially(partial, share)
    assert streamed
    if with_lora:
        assert any(m.weight_function for m in partial.model.diffusion_model.modules() if hasattr(m, "weight_function"))
    assert torch.equal(output(partial), output(whole))
    partial.unpatch_model(partial.offload_device)


@every_format
def test_a_weight_can_be_set_back_and_the_file_stays_as_it_is(format_name, wan_files, load):
    path = wan_files[format_name][1]
    with open(path, "rb") as file:
        bytes_before = file.read()
    layer = load(format_name).model.diffusion_model.blocks[0].ffn[0]
    before = layer.weight.dequantize()
    layer.set_weight(before * 2)
    assert distance(layer.weight.dequantize(), before * 2) < 0.01
    with open(path, "rb") as file:
        assert file.read() == bytes_before


@every_format
def test_a_scheduled_lora_is_refused_with_the_remedy(format_name, load, lora):
    import comfy.hooks
    import comfy.sample

    model = load(format_name)
    prompt = [[torch.zeros(1, 64, 64), {}]]
    hooked = comfy.hooks.set_hooks_for_conditioning(prompt, comfy.hooks.create_hook_lora(lora(), 1.0, 0.0))
    latent = torch.zeros(1, 16, 2, 8, 8)
    with pytest.raises(RuntimeError, match="LoraLoaderBypassModelOnly"):
        comfy.sample.sample(model, latent, 1, 1.0, "euler", "simple", hooked, hooked, latent, disable_pbar=True, seed=0)


@every_format
def test_model_merge_nodes_merge_two_quantized_models(format_name, wan_files, load, load_dense, sample, lora, tmp_path):
    """ModelMergeSimple of a model and its LoRA-baked variant, against the same merge of unquantized models."""
    from comfy_extras.nodes_model_merging import ModelMergeSimple

    dense_path = wan_files[format_name][0]
    baked = saved_by_core(apply(load(format_name), lora()), tmp_path / "saved.safetensors")
    (merged,) = ModelMergeSimple().merge(load(format_name), load(format_name, baked), 0.5)
    half = apply(load_dense(dense_path), lora(), 0.5)
    plain = sample(load_dense(dense_path))
    wanted = sample(half)
    got = sample(merged)
    # half a LoRA is less than the error of 4 bits
    assert format_name in SHARES or distance(got, wanted) < 0.35 * distance(wanted, plain)
    assert 0.7 < along(got - sample(load(format_name)), wanted - plain) < 1.3


@pytest.fixture
def older(monkeypatch):
    """A core that does not keep what a weight holds beside its codes."""
    monkeypatch.setattr(quant_linear, "requantizes_with_params", lambda: False)


def paged_in_with_a_lora(patched):
    """A layer, its input, and where core's dynamic VRAM would leave the LoRA of that layer."""
    from comfy.model_patcher import LowVramPatch

    layer = patched.model.diffusion_model.blocks[0].ffn[0]
    layer.weight_lowvram_function = LowVramPatch("diffusion_model.blocks.0.ffn.0.weight", patched.patches)
    return layer, torch.randn((3, layer.in_features))


def test_a_patch_that_an_older_core_would_lose_values_by_is_refused(older, load, lora):
    layer, x = paged_in_with_a_lora(apply(load("fp8-tensor"), lora()))
    with pytest.raises(
        RuntimeError, match=r"cannot patch fp8-tensor weights under dynamic VRAM.*--disable-dynamic-vram"
    ):
        layer(x)


def test_a_patch_of_codes_and_scales_alone_is_not(older, load, lora):
    layer, x = paged_in_with_a_lora(apply(load("int8-channel"), lora()))
    assert layer(x).shape == (3, layer.out_features)


@every_format
def test_a_dynamic_vram_page_is_patched_and_requantized_in_place(format_name, load, lora):
    """What core does on a GPU when a layer's page is faulted in, run on a buffer in RAM: the LoRA is merged once, in
    our layout, into the memory of the page."""
    import comfy.ops
    import comfy.utils
    from comfy.memory_management import interpret_gathered_like, vram_aligned_size
    from comfy.model_management import cast_to_gathered
    from comfy.model_patcher import LowVramPatch

    patched = apply(load(format_name), lora())
    key = "diffusion_model.blocks.0.ffn.0"
    layer = patched.model.diffusion_model.blocks[0].ffn[0]
    if kept_beside(layer.weight) and not requantizes_with_params():
        pytest.skip("this ComfyUI does not keep what the weight has beside its codes; the layer refuses that")
    page = torch.zeros(vram_aligned_size([layer.weight, layer.bias]), dtype=torch.uint8)
    cast_to_gathered([layer.weight, layer.bias], page)
    layer.seed_key = key
    layer.weight_lowvram_function = LowVramPatch(f"{key}.weight", patched.patches)
    layer._prefetch = {
        "signature": "page",
        "resident": False,
        "xfer_dest": page,
        "cast_dest": None,
        "cast_geometry": [layer.weight, layer.bias],
        "needs_cast": False,
    }
    weight, _ = comfy.ops.resolve_cast_module_with_vbar(
        layer, layer.weight.dtype, torch.device("cpu"), torch.float32, torch.float32, True
    )
    assert isinstance(weight, QuantizedTensor)
    float_weight = layer.weight_lowvram_function(layer.weight.to(dtype=torch.float32).dequantize())
    expected = layer.set_weight(float_weight, seed=comfy.utils.string_to_seed(key), return_weight=True)
    assert same(bytes_of(weight), bytes_of(expected))
    resident = interpret_gathered_like([layer.weight, layer.bias], page)[0]
    assert same(bytes_of(resident), bytes_of(expected))
