"""Load Quantized DiT against the unquantized model, and everything core does with a MODEL."""

import re

import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from distance import distance

from x2v_quant.checkpoints import CheckpointError
from x2v_quant.core.features import rotates_int8
from x2v_quant.kernels import NoKernelError
from x2v_quant.linear import QuantLinear
from x2v_quant.loading.dit import load_dit
from x2v_quant.schemes import SchemeChoice, UnknownSchemeError
from x2v_quant.schemes.plan import SchemeMismatchError

pytestmark = pytest.mark.usefixtures("inference")
# relative error of the latents that is promised
LIMIT = {"int8-channel": 0.02, "fp8-channel": 0.06}
every_format = pytest.mark.parametrize("format_name", LIMIT)


def quantized_layers(model):
    return [m for m in model.model.diffusion_model.modules() if isinstance(m, QuantLinear) and m.kernel]


@every_format
def test_latents_are_those_of_the_unquantized_model(format_name, wan_files, load_dense, sample):
    dense, path = wan_files[format_name]
    reference = sample(load_dense(dense))
    model = load_dit(path)
    assert distance(sample(model), reference) < LIMIT[format_name]
    assert len(quantized_layers(model)) == len(model.model.x2v_plan.layers) == 20


@every_format
def test_a_wrong_scale_would_be_seen(format_name, wan_files, load_dense, sample):
    """The comparison above is not blind: one layer's scale off by a factor breaks it."""
    dense, path = wan_files[format_name]
    reference = sample(load_dense(dense))
    model = load_dit(path)
    for layer in quantized_layers(model)[::4]:
        layer.weight._params.scale.mul_(3)
    assert distance(sample(model), reference) > 2 * LIMIT[format_name]


@every_format
def test_weights_stay_as_the_file_has_them(format_name, wan_files):
    import safetensors.torch

    path = wan_files[format_name][1]
    file = safetensors.torch.load_file(path)
    model = load_dit(path)
    for name, module in model.model.diffusion_model.named_modules():
        if isinstance(module, QuantLinear) and module.kernel:
            exact = file[f"{name}.weight"].float() * file[f"{name}.weight_scale"].float()
            assert torch.equal(module.weight.to(dtype=torch.float32).dequantize(), exact)
            assert torch.equal(module.weight._qdata.view(torch.uint8), file[f"{name}.weight"].view(torch.uint8))


def test_batches_and_guidance(wan_files, load_dense, sample):
    dense, path = wan_files["int8-channel"]
    assert distance(sample(load_dit(path), cfg=3.0), sample(load_dense(dense), cfg=3.0)) < 0.05


@pytest.mark.parametrize(
    "scheme,kernel", [("auto", None), ("int8-dequant", "dequant"), ("int8-reference", "reference")]
)
def test_the_scheme_picks_the_kernel(scheme, kernel, wan_files, sample, best):
    model = load_dit(wan_files["int8-channel"][1], SchemeChoice(dit=scheme))
    assert {layer.kernel.name for layer in quantized_layers(model)} == {kernel or best("int8-channel").name}
    assert sample(model).isfinite().all()


def test_two_schemes_live_side_by_side(wan_files, sample, best):
    path = wan_files["int8-channel"][1]
    fast, exact = load_dit(path), load_dit(path, SchemeChoice(dit="int8-reference"))
    first = sample(fast)
    sample(exact)
    assert {layer.kernel.name for layer in quantized_layers(fast)} == {best("int8-channel").name}
    assert torch.equal(sample(fast), first)


def test_a_library_that_is_not_there_falls_back_aloud(wan_files, caplog, best):
    model = load_dit(wan_files["int8-channel"][1], SchemeChoice(dit="int8-vllm"))
    plan = model.model.x2v_plan
    used = best("int8-channel").name
    assert plan.fallback().startswith(f"int8-vllm falls back to {used} for 20 of 20 layers: vllm needs ")
    assert plan.fallback() in caplog.text
    assert re.search(r"^- not vllm\b.*: needs ", "\n".join(plan.lines()), re.MULTILINE)


def test_strict_makes_the_fallback_an_error(wan_files):
    with pytest.raises(NoKernelError, match=r"int8\.safetensors, layer .*vllm needs "):
        load_dit(wan_files["int8-channel"][1], SchemeChoice(dit="int8-vllm", strict=True))


def test_a_scheme_of_another_format_is_refused_with_those_that_fit(wan_files):
    with pytest.raises(SchemeMismatchError, match=r"has int8-channel weights, scheme fp8-sgl .* int8-vllm"):
        load_dit(wan_files["int8-channel"][1], SchemeChoice(dit="fp8-sgl"))


@pytest.mark.skipif(rotates_int8(), reason="this ComfyUI has every format")
def test_a_scheme_of_a_newer_comfyui_says_so(wan_files):
    with pytest.raises(SchemeMismatchError, match="int8-convrot, which takes a newer ComfyUI than this one"):
        load_dit(wan_files["int8-channel"][1], SchemeChoice(dit="int8-convrot", transcode=True))


def test_unknown_scheme(wan_files):
    with pytest.raises(UnknownSchemeError, match="Unknown scheme 'int9'"):
        load_dit(wan_files["int8-channel"][1], SchemeChoice(dit="int9"))


def test_transcoding_converts_at_load(wan_files, load_dense, sample):
    dense, path = wan_files["fp8-channel"]
    model = load_dit(path, SchemeChoice(dit="int8-torch", transcode=True))
    assert {e.choice.format for e in model.model.x2v_plan.layers.values()} == {"int8-channel"}
    assert distance(sample(model), sample(load_dense(dense))) < LIMIT["fp8-channel"]


@pytest.mark.parametrize("name,dtype", [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_compute_dtype_is_what_the_user_asked_for(name, dtype, wan_files, load_dense, sample):
    dense, path = wan_files["int8-channel"]
    model = load_dit(path, SchemeChoice(compute_dtype=name))
    assert model.model.get_dtype_inference() == dtype
    assert {layer.weight.dtype for layer in quantized_layers(model)} == {dtype}
    assert distance(sample(model), sample(load_dense(dense))) < 0.03


def test_model_sampling_patch(wan_files, sample):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    model = load_dit(wan_files["int8-channel"][1])
    (shifted,) = ModelSamplingSD3().patch(model, 5.0)
    assert not torch.equal(sample(shifted), sample(model))


@pytest.fixture
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_dynamo")
def test_torch_compile_node_gives_the_same(wan_files, sample):
    """What the TorchCompileModel node does, short of inductor, which needs a C++ compiler on the user's machine."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    model = load_dit(wan_files["int8-channel"][1])
    plain = sample(model)
    compiled = model.clone()
    set_torch_compile_wrapper(compiled, backend="aot_eager")
    torch.testing.assert_close(sample(compiled), plain, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("fresh_dynamo")
def test_one_linear_compiles_without_a_graph_break(wan_files):
    model = load_dit(wan_files["int8-channel"][1])
    layer = model.model.diffusion_model.blocks[0].ffn[0]
    x = torch.randn(2, 5, layer.in_features)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))


def test_core_can_load_it_again(wan_files, sample):
    """What core does for a second GPU or a model that cannot be compiled in place."""
    model = load_dit(wan_files["int8-channel"][1], SchemeChoice(dit="int8-dequant"))
    factory, arguments = model.cached_patcher_init
    again = factory(*arguments, disable_dynamic=True)
    assert {layer.kernel.name for layer in quantized_layers(again)} == {"dequant"}
    assert torch.equal(sample(again), sample(model))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(256,), (3, 256), (2, 5, 256), (2, 3, 4, 256)])
def test_any_input_rank_and_dtype(dtype, shape, wan_files):
    layer = load_dit(wan_files["int8-channel"][1]).model.diffusion_model.blocks[0].ffn[0]
    x = torch.randn(shape).to(dtype)
    y = layer(x)
    assert y.dtype == dtype
    assert y.shape == (*shape[:-1], 512)
    exact = torch.nn.functional.linear(x.float(), layer.weight.dequantize().float(), layer.bias.float())
    assert distance(y.float(), exact) < 0.02


def test_memory_is_that_of_the_codes(wan_files):
    import os

    path = wan_files["int8-channel"][1]
    assert load_dit(path).model_size() == pytest.approx(os.path.getsize(path), rel=0.02)


def rewritten(path, folder, change):
    import safetensors.torch

    sd = safetensors.torch.load_file(path)
    change(sd)
    target = folder / "changed.safetensors"
    safetensors.torch.save_file(sd, target)
    return str(target)


@pytest.mark.parametrize(
    "change,words",
    [
        (lambda sd: sd.pop("blocks.1.ffn.0.weight_scale"), "blocks.1.ffn.0.weight"),
        (lambda sd: sd.pop("blocks.1.ffn.0.bias"), "blocks.1.ffn.0.bias is missing"),
        (lambda sd: sd.pop("patch_embedding.weight"), "patch_embedding.weight is missing"),
        (
            lambda sd: (sd.pop("blocks.1.ffn.0.weight"), sd.pop("blocks.1.ffn.0.weight_scale")),
            "blocks.1.ffn.0.weight is missing",
        ),
        (
            lambda sd: sd.update({"blocks.1.extra.weight": torch.zeros(3)}),
            "blocks.1.extra.weight has no place in ComfyUI's model",
        ),
    ],
    ids=["scale", "bias", "dimension", "weight", "extra"],
)
def test_an_incomplete_file_is_refused_before_sampling(change, words, wan_files, tmp_path):
    with pytest.raises(CheckpointError, match=words) as error:
        load_dit(rewritten(wan_files["int8-channel"][1], tmp_path, change))
    assert "changed.safetensors" in str(error.value)


def test_weights_are_streamable_tensors(wan_files):
    """The contract of core's patcher: a leaf with its weight as a quantized Parameter, every scale inside it."""
    for layer in quantized_layers(load_dit(wan_files["fp8-channel"][1])):
        assert isinstance(layer.weight, torch.nn.Parameter)
        assert isinstance(layer.weight, QuantizedTensor)
        assert not list(layer.children())
        assert {name for name, _ in layer.named_parameters()} <= {"weight", "bias"}
        assert set(layer.state_dict()) == {"weight", "weight_scale", "bias", "comfy_quant"}
