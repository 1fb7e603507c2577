"""What core does with a MODEL (load it in part, patch, save, clone, compile, load anew) works on a quantized one as it
does on one that our loader made."""

import inspect

import pytest
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY, TORCH_COMPILE_KWARGS, set_torch_compile_wrapper
from comfy_kitchen.tensor import QuantizedTensor
from distance import distance

from x2v_quant.loading.dit import load_dit
from x2v_quant.quantizing import QuantizeError
from x2v_quant.runtime.compiling import compilations_of, compiled
from x2v_quant.schemes import SchemeChoice

FLOAT32 = SchemeChoice(compute_dtype="fp32")  # what `dense` computes on every CPU

pytestmark = pytest.mark.usefixtures("inference")


def test_a_lora_on_a_quantized_model_is_taken_off_again_bit_for_bit(dense, quantize, sample, with_lora, contents, same):
    made = quantize(dense())
    before, output = contents(made.model), sample(made)
    wanted, plain = sample(with_lora(dense())), sample(dense())
    got = sample(with_lora(made))
    assert distance(got, wanted) < 0.5 * distance(wanted, plain)
    assert torch.equal(sample(made), output)
    assert same(contents(made.model), before)


@pytest.mark.parametrize("share", [1e-6, 0.5])
def test_partial_loading_gives_the_same_output(share, dense, quantize):
    def output(model):
        generator = torch.Generator().manual_seed(0)
        wan = model.model.diffusion_model
        width = wan.text_embedding[0].in_features
        x, context = (
            torch.randn((1, 16, 2, 8, 8), generator=generator),
            torch.randn((1, 16, width), generator=generator),
        )
        return wan(x, torch.tensor([500.0]), context)

    whole, partial = quantize(dense()), quantize(dense())
    whole.patch_model(whole.load_device)
    partial.patch_model(partial.load_device, lowvram_model_memory=int(share * partial.model_size()))
    assert [m for m in partial.model.modules() if hasattr(m, "prev_comfy_cast_weights")]
    assert torch.equal(output(partial), output(whole))
    partial.unpatch_model(partial.offload_device)


def test_a_saved_model_loads_as_the_same(dense, quantize, sample, with_lora, tmp_path):
    """What ModelSave does. The text embedding's LoRA is not baked in but merged by core at saving."""
    import comfy.sd

    made = quantize(with_lora(dense()))
    path = str(tmp_path / "saved.safetensors")
    expected = sample(made)
    comfy.sd.save_checkpoint(path, made)
    loaded = load_dit(path, FLOAT32)
    ours, theirs = made.model.diffusion_model, loaded.model.diffusion_model
    for name in made.model.x2v_plan.layers:
        assert torch.equal(ours.get_submodule(name).weight._qdata, theirs.get_submodule(name).weight._qdata)
    assert loaded.model.x2v_plan.layers.keys() == made.model.x2v_plan.layers.keys()
    assert distance(sample(loaded), expected) < 0.02


def test_it_counts_its_own_memory_and_not_the_first_models(dense, quantize):
    model = dense()
    before = model.model_size()
    made = quantize(model)
    weights = [p for p in made.model.parameters() if isinstance(p, QuantizedTensor)]
    wide = model.model.diffusion_model.blocks[0].ffn[0].weight.itemsize
    saved = sum(weight.numel() * wide - weight._qdata.nbytes - weight._params.scale.nbytes for weight in weights)
    assert made.model_size() == pytest.approx(before - saved, rel=0.01)
    assert made.loaded_size() == 0


def test_the_loaded_first_model_is_unloaded_with_its_lora(dense, quantize, sample, with_lora, contents, same):
    """Core has the LoRA of a clone in the weights while it is loaded."""
    model = dense()
    before = contents(model.model)
    expected = contents(quantize(model).model)
    patched = with_lora(model)
    sample(patched)
    assert not same(contents(model.model), before)
    assert same(contents(quantize(model).model), expected)
    assert same(contents(model.model), before)


def test_the_new_models_entry_does_not_fall_back_to_the_first_patcher(dense, quantize, sample):
    """Core hands a loaded model over to its patcher's parent when the patcher goes."""
    import gc

    import comfy.model_management

    model = dense()
    made = quantize(model)
    sample(made)
    torch_model = made.model
    del made
    gc.collect()
    entries = comfy.model_management.current_loaded_models
    assert not [e for e in entries if e.model is model and e.real_model() is torch_model]


@pytest.mark.parametrize("where", ["first", "quantized"])
def test_core_loads_it_anew_with_its_loras(where, dense, quantize, sample, with_lora, contents, same):
    made = quantize(with_lora(dense()))
    wanted = contents(made.model)
    if where == "first":
        factory, arguments = made.cached_patcher_init
        again = factory(*arguments, disable_dynamic=True)
        assert again.patches.keys() == made.patches.keys()
    else:
        again = made.deepclone_multigpu()  # of its own accord, as for a second GPU
    assert again.model is not made.model
    assert same(contents(again.model), wanted)
    if where == "quantized":
        assert torch.equal(sample(again), sample(made))


def test_a_model_that_cannot_be_loaded_anew_gives_one_that_cannot(dense, quantize):
    model = dense()
    model.cached_patcher_init = None
    assert quantize(model).cached_patcher_init is None


@pytest.mark.parametrize("first", ["quantize", "compile"])
def test_compiled_by_cores_node_on_either_side(first, dense, quantize, sample):
    calls = []

    def backend(graph, inputs):
        calls.append(graph)
        return graph.forward

    def by_core(model):
        model = model.clone()
        # submodules without attention: core's on a CPU makes many small graphs
        set_torch_compile_wrapper(model, backend=backend, keys=[f"diffusion_model.blocks.{i}.ffn" for i in range(2)])
        return model

    torch._dynamo.reset()
    expected = sample(quantize(dense()), steps=1)
    made = by_core(quantize(dense())) if first == "quantize" else quantize(by_core(dense()))
    got = sample(made, steps=1)
    torch._dynamo.reset()
    assert calls
    assert distance(got, expected) < 1e-5


@pytest.mark.slow
def test_compiled_blocks_are_compiled_as_before(dense, quantize, sample):
    """Without the filter of guards each step, and each block, would be a graph of its own."""
    model = dense()
    options = model.model_options.setdefault("transformer_options", {})
    options["optimized_attention_override"] = lambda _, *args, **kwargs: attention_pytorch(*args, **kwargs)
    torch._dynamo.reset()
    expected = sample(quantize(model))
    first, _ = compiled(model, "eager")
    made = quantize(first)
    got = sample(made)
    found, graphs = compilations_of(made), compilations_of(made).graphs
    sample(made, steps=3)
    torch._dynamo.reset()
    assert distance(got, expected) < 1e-3
    assert found is not compilations_of(first) and compilations_of(first).calls == 0
    assert found.graphs == graphs > 0
    assert found.again == {}


def test_the_last_node_that_compiles_counts(dense, quantize):
    model, _ = compiled(dense(), "eager")
    set_torch_compile_wrapper(model, backend="eager", keys=["diffusion_model.head"])
    made = quantize(model)
    assert made.model_options[TORCH_COMPILE_KWARGS]["backend"] == "eager"
    (wrapper,) = made.get_wrappers(WrappersMP.APPLY_MODEL, COMPILE_KEY)
    modules = inspect.getclosurevars(wrapper).nonlocals["compiled_module_dict"]
    assert modules.keys() == {"diffusion_model.head"}
    assert modules["diffusion_model.head"]._orig_mod is made.model.diffusion_model.head


def test_modules_that_another_pack_compiled_are_refused(dense, quantize):
    model = dense().clone()
    model.add_object_patch("diffusion_model.blocks.0", torch.compile(model.model.diffusion_model.blocks[0]))
    with pytest.raises(QuantizeError, match="Put the node that compiles after Quantize Model"):
        quantize(model)


def test_an_object_patch_bound_to_the_first_model_is_bound_to_the_new_one(dense, quantize, sample):
    """As packs replace a model's own forward."""
    seen = []

    def forward(self, *args, **kwargs):
        seen.append(self)
        return type(self).forward(self, *args, **kwargs)

    model = dense().clone()
    wan = model.model.diffusion_model
    model.add_object_patch("diffusion_model.forward", forward.__get__(wan))
    made = quantize(model)
    sample(made, steps=1)
    assert set(seen) == {made.model.diffusion_model}
