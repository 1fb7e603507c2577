"""The demo's trained Wan as core's own loader loads it, and what is done with it."""

import pytest
import small_wan
import torch
from comfy_kitchen.tensor import QuantizedTensor

from x2v_quant.demo import assets
from x2v_quant.schemes import SchemeChoice

FLOAT32 = SchemeChoice(compute_dtype="fp32")
# what a LoRA of these tests is on: layers that are quantized, and one that is not
ON = ("blocks.0.self_attn.q", "blocks.1.ffn.0", "blocks.1.ffn.2", "text_embedding.0")


@pytest.fixture(scope="session")
def dense_file(demo_models):
    return str(demo_models / "diffusion_models" / assets.names(assets.ORIGINAL).t2v)


@pytest.fixture
def dense(dense_file):
    """dense(**options) -> the bf16 model as UNETLoader loads it; options: core's model_options."""
    import comfy.sd

    return lambda **options: comfy.sd.load_diffusion_model(dense_file, model_options=options)


@pytest.fixture
def quantize():
    """quantize(model, format, lines="", choice) -> what the node Quantize Model gives."""
    from x2v_quant.quantizing import quantize_model, select_in_model

    def run(model, format_name="int8-channel", lines="", choice=FLOAT32):
        return quantize_model(model, select_in_model(model, format_name, lines, choice), choice)

    return run


@pytest.fixture
def sample():
    """sample(model, steps=2) -> latents"""
    return small_wan.sample


@pytest.fixture
def with_lora():
    """with_lora(model, bypass=False) -> a clone with a LoRA on the layers named in ON."""
    import comfy.sd

    def apply(model, bypass=False):
        layers = {name: model.model.diffusion_model.get_submodule(name) for name in ON}
        lora = small_wan.lora({name: (layer.out_features, layer.in_features) for name, layer in layers.items()})
        patch = comfy.sd.load_bypass_lora_for_models if bypass else comfy.sd.load_lora_for_models
        return patch(model, None, lora, 1.0, 0)[0]

    return apply


@pytest.fixture
def contents():
    """contents(model) -> every tensor of a torch model by name, copied; of quantized weights the codes and scales."""

    def parts(name, tensor):
        if not isinstance(tensor, QuantizedTensor):
            return {name: tensor}
        names, _ = tensor.__tensor_flatten__()
        return {f"{name}.{part}": getattr(tensor, part) for part in names}

    def read(model):
        held = [*model.named_parameters(), *model.named_buffers()]
        found = {}
        for name, tensor in held:
            found.update({key: part.detach().clone() for key, part in parts(name, tensor).items()})
        return found

    return read


@pytest.fixture
def same():
    """Whether two results of `contents` are equal bit for bit."""

    def check(a, b):
        def bits(tensor):
            return tensor.contiguous().reshape(-1).view(torch.uint8)

        return a.keys() == b.keys() and all(
            a[name].dtype == b[name].dtype and torch.equal(bits(a[name]), bits(b[name])) for name in a
        )

    return check
