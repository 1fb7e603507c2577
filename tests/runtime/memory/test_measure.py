"""Bytes of models that are really loaded, against the bytes of their files."""

import sys

import pytest
import safetensors.torch
import small_wan
import torch

from x2v_quant.runtime.memory import MemoryUse, measure

KINDS = ("int8", "fp8", "block128", "fp8-tensor", "int4", "int4-marlin", "mxfp8", "nvfp4")
every_kind = pytest.mark.parametrize("kind", KINDS)
tells_files = pytest.mark.skipif(sys.platform == "darwin", reason="counts mapped files as RAM")
PATCHES = "LoRA and other patches"
ORIGINALS = "originals to put back"
STREAMED = "weights on the move"
LAYER = "diffusion_model.blocks.0.ffn.0"


def nbytes(tensors):
    return sum(tensor.nbytes for tensor in tensors)


def lora(patcher):
    """Down and up of one layer, as a LoRA file has them."""
    return small_wan.lora({LAYER.removeprefix("diffusion_model."): patcher.model.get_submodule(LAYER).weight.shape})


@every_kind
def test_ram_and_file_together_are_the_files_bytes(kind, files, load, component):
    """Exactly, but for what loading widens: scales are float32 in memory, and core wants a few weights in it."""
    stored = safetensors.torch.load_file(files(kind).quantized)
    model = load(kind)
    found = component(model)
    loaded = dict(model.model.diffusion_model.named_parameters())
    expected = nbytes(model.model.buffers())
    for name, tensor in stored.items():
        if name.endswith("scale") and tensor.itemsize > 1:
            expected += 4 * tensor.numel()
        elif name.endswith("scale") or f"{name}_scale" in stored:
            expected += tensor.nbytes
        elif not name.endswith("_workspace"):  # Marlin's, which holds no values
            expected += loaded[name].nbytes
    assert found.size == expected
    assert found.everything == found.held["weights"]
    assert found.everything.ram + found.everything.disk == found.everything.total == found.size


@tells_files
@pytest.mark.parametrize("kind", ["int8", "fp8", "block128", "fp8-tensor", "int4", "mxfp8"])
def test_matrices_stay_in_the_file(kind, files, load, component):
    stored = safetensors.torch.load_file(files(kind).quantized)
    matrices = nbytes(tensor for name, tensor in stored.items() if name.endswith(".weight") and tensor.ndim == 2)
    assert component(load(kind)).everything.disk == matrices > 0.9 * nbytes(stored.values())


@every_kind
def test_bf16_is_the_unquantized_file(kind, files, load, component):
    dense = safetensors.torch.load_file(files(kind).dense)
    model = load(kind)
    in_bf16 = nbytes(tensor.bfloat16() for tensor in (*dense.values(), *model.model.buffers()))
    assert component(model).bf16 == in_bf16


def test_what_two_models_share_is_counted_once(load, peak):
    first, second = load(), load()
    report = measure({"one": first, "its clone": first.clone(), "another": second}, peak)
    one, clone, another = report.components
    assert (one.elsewhere, clone.elsewhere, another.elsewhere) == (0, one.size, 0)
    assert clone.everything == MemoryUse()
    assert report.everything.total == one.size + another.size


def test_a_view_is_not_counted_again(load, component):
    model = load()
    before = component(model)
    layer = model.model.diffusion_model.blocks[0].self_attn.norm_q
    layer.register_buffer("again", layer.weight[:2])
    after = component(model)
    assert (after.size, after.everything) == (before.size, before.everything)


def test_a_lora_is_a_line_of_its_own(load, component):
    import comfy.sd

    model = load()
    weights = lora(model)
    patched, _ = comfy.sd.load_lora_for_models(model, None, weights, 1.0, 0)
    assert component(model).held[PATCHES] == MemoryUse()
    assert component(patched).held[PATCHES] == MemoryUse(ram=nbytes(weights.values()))
    assert component(patched).held["weights"] == component(model).held["weights"]


def test_a_lora_beside_the_layers_too(load, component):
    import comfy.sd

    weights = lora(model := load())
    patched, _ = comfy.sd.load_bypass_lora_for_models(model, None, weights, 1.0, 0)
    assert component(patched).held[PATCHES] == MemoryUse(ram=nbytes(weights.values()))


@tells_files
def test_a_merged_weight_leaves_its_original(load, component):
    import comfy.sd

    model = load()
    before = component(model).held["weights"]
    patched, _ = comfy.sd.load_lora_for_models(model, None, lora(model), 1.0, 0)
    patched.patch_model()
    weight = patched.model.diffusion_model.blocks[0].ffn[0].weight
    found = component(patched).held
    patched.unpatch_model()
    assert found[ORIGINALS].disk == weight.numel()
    assert found["weights"].disk == before.disk - weight.numel()
    assert component(patched).held["weights"] == before


def test_what_core_has_pinned(load, component, monkeypatch):
    import comfy.model_management

    model = load()
    codes = model.model.diffusion_model.blocks[0].ffn[0].weight._qdata
    monkeypatch.setitem(comfy.model_management.PINNED_MEMORY, codes.data_ptr(), codes.nbytes)
    assert component(model).everything.pinned == codes.nbytes


def test_dynamic_vram_adds_its_pages_and_host_buffers(load, monkeypatch, peak):
    """Core's own patcher for GPUs, with the sizes that its native library would report."""
    import comfy.model_patcher
    import comfy_aimdo.host_buffer

    class Buffer:
        def __init__(self, size=0, *_):
            self.size = size

    class Pages:
        def loaded_size(self):
            return 3000

    monkeypatch.setattr(comfy_aimdo.host_buffer, "HostBuffer", Buffer)
    device = torch.device("cuda", 0)
    model = load()
    weights = measure({"model": model}, peak).components[0].held["weights"]
    dynamic = comfy.model_patcher.ModelPatcherDynamic(model.model, device, torch.device("cpu"))
    dynamic.model.dynamic_vbars[device] = Pages()
    pins = dynamic.model.dynamic_pins[device]
    sizes = {"weights": (700, 500), "weights-loaded": (40, 30)}
    kept = [sizes[subset] for subset in sizes if subset in pins]  # older releases have the first only
    for subset, (size, registered) in zip(sizes, kept, strict=False):
        pins[subset] = (Buffer(size), [], [-1], [registered], [0], {})
    size, pinned = (sum(column) for column in zip(*kept, strict=True))
    one, clone = measure({"one": dynamic, "its clone": dynamic.clone()}, peak).components
    assert one.held["weights"] == weights
    assert one.held[STREAMED] == MemoryUse(device=3000, pinned=pinned, ram=size - pinned)
    assert one.streamed and clone.everything == MemoryUse()
