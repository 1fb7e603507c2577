"""Compiled blocks sample what they sample uncompiled, with few graphs, whatever changes between two runs."""

import os

import comfy.sd
import pytest
import small_wan
import torch
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY
from distance import distance
from small_wan import pytorch_attention

from x2v_quant.benchmarks.models import write_pair
from x2v_quant.benchmarks.wan import WanSize
from x2v_quant.calibration.recorder import calibrated
from x2v_quant.kernels.machine import default_device
from x2v_quant.loading.dit import load_dit
from x2v_quant.runtime.compiling import compilations_of, compiled
from x2v_quant.runtime.compiling.apply import KEY, why_not
from x2v_quant.runtime.offload import OffloadSettings
from x2v_quant.runtime.offload.apply import attach
from x2v_quant.runtime.sharing import shared_activations
from x2v_quant.schemes import SchemeChoice

SIZE = WanSize(dim=128, ffn=128, blocks=3)


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("inference")]


@pytest.fixture(autouse=True, scope="module")
def fresh_dynamo():
    """Compiling takes most of the time here: what one test has compiled, the next may use."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture(scope="session")
def wan_file(tmp_path_factory):
    return str(write_pair(tmp_path_factory.mktemp("compiled"), SIZE, "int8")[1])


@pytest.fixture
def load(wan_file):
    """load(scheme, compute dtype) -> MODEL"""

    def make(scheme, compute_dtype="auto"):
        made = load_dit(wan_file, SchemeChoice(dit=scheme, compute_dtype=compute_dtype))
        options = made.model_options.setdefault("transformer_options", {})
        options["optimized_attention_override"] = pytorch_attention
        return made

    return make


@pytest.fixture
def model(load):
    return load("int8-dequant")


@pytest.fixture
def sample():
    """sample(model, tokens=16, seed=0) -> latents of two steps."""
    import comfy.sample

    def run(model, tokens=16, seed=0):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((1, 16, 1, 8, 8), generator=generator)
        positive, negative = ([[torch.randn((1, tokens, SIZE.text), generator=generator), {}]] for _ in range(2))
        latents = torch.zeros_like(noise)
        return comfy.sample.sample(
            model, noise, 2, 2.0, "euler", "simple", positive, negative, latents, disable_pbar=True, seed=0
        )

    return run


def with_lora(model, strength, bypass=False):
    on = {f"blocks.{block}.self_attn.q": (SIZE.dim, SIZE.dim) for block in range(SIZE.blocks)}
    lora = small_wan.lora(on, strength=1.0)
    apply = comfy.sd.load_bypass_lora_for_models if bypass else comfy.sd.load_lora_for_models
    return apply(model, None, lora, strength, 0)[0]


def close(a, b):
    return torch.allclose(a, b, rtol=1e-3, atol=1e-3)


def test_few_graphs_whatever_changes(model, sample):
    """A session: prompts, LoRAs, their strengths, a prompt of another length. Dynamo by itself would give the code up
    after one graph here, and say so in its own log only."""
    expected = sample(model)
    made, notes = compiled(model, "eager")
    report = compilations_of(made)
    assert notes == []
    assert report.text() == "3 blocks will be compiled at the first step"

    def run(patch=lambda patcher: patcher, **options):
        """Graphs compiled in this run."""
        before = report.graphs
        assert close(sample(patch(made), **options), sample(patch(model), **options))
        assert compilations_of(patch(made)) is report
        return report.graphs - before

    with torch._dynamo.config.patch(recompile_limit=1):
        first = run()
        # the first block's input has other strides than those of the rest
        assert 1 <= first <= 2
        assert report.text() == f"{first} graphs for 3 blocks in 2 calls of the model, none compiled again"
        assert run(seed=1) == 0
        assert [run(lambda patcher: with_lora(patcher, strength)) for strength in (1.0, 0.5)] == [0, 0]  # noqa: B023
        longer = run(tokens=20)
        assert 1 <= longer <= 2
        assert list(report.again) == [report.calls - 1]
        assert f"{longer} of them later, in call {report.calls - 1}: " in report.text()
        assert "tensor 'context' size mismatch" in report.text()
        assert [run(tokens=tokens) for tokens in (23, 16)] == [0, 0]
        # beside the weights a strength is a number in the code: the second one is compiled, for any other after it
        beside = [run(lambda patcher: with_lora(patcher, strength, True)) for strength in (1.0, 0.5, 0.25)]  # noqa: B023
        assert beside[0] > 0
        assert beside[2] == 0
    assert torch.equal(sample(model), expected)


def half(args):
    return args["x"] * 0.5


def halved_attention(_, *args, **kwargs):
    return pytorch_attention(_, *args, **kwargs) * 0.5


def with_patch(model, where):
    """A clone of a MODEL with what other nodes put into its blocks."""
    clone = model.clone()
    if where == "override":
        clone.model_options["transformer_options"]["optimized_attention_override"] = halved_attention
    else:
        clone.set_model_patch(half, where)
    return clone


@pytest.mark.parametrize("where", ["attn1_patch", "attn2_patch", "override"])
def test_patches_of_blocks_come_and_go(where, model, sample):
    """Blocks that were compiled without a patch, by this MODEL or another one, are not used for one that has it."""
    made, _ = compiled(model, "eager")
    plain, changed = sample(model), sample(with_patch(model, where))
    assert not close(changed, plain)
    for _ in range(2):
        assert close(sample(made), plain)
        assert close(sample(with_patch(made, where)), changed)
    assert close(sample(compiled(with_patch(model, where), "eager")[0]), changed)
    graphs = compilations_of(made).graphs
    assert close(sample(made), plain)
    assert compilations_of(made).graphs == graphs


def test_another_backend(model, sample):
    made, _ = compiled(model, "aot_eager")
    blocks = list(made.model.diffusion_model.blocks)
    assert close(sample(made), sample(model))
    assert 1 <= compilations_of(made).graphs <= 2
    assert list(made.model.diffusion_model.blocks) == blocks, "they are put back"


@pytest.mark.skipif(why_not(default_device()) is not None, reason=f"{why_not(default_device())}")
@pytest.mark.parametrize("scheme", ["int8-dequant", "int8-reference"])
def test_inductor(scheme, load, sample):
    """What the switch of Quantized Sampler Patch takes; quantized activations are an op of the pack in the graph."""
    model = load(scheme, "fp32")
    made, notes = compiled(model)
    expected = sample(model)
    # rounding activations makes a step of a difference in the last bit, which fused code has
    assert distance(sample(made), expected) < 5e-3
    assert notes == []
    assert 1 <= compilations_of(made).graphs <= 2
    graphs = compilations_of(made).graphs
    sample(made, seed=1)
    assert compilations_of(made).graphs == graphs


def test_compiling_twice_is_compiling_once(model):
    made, _ = compiled(model, "eager")
    again, _ = compiled(made, "eager")
    assert len(again.get_wrappers(WrappersMP.APPLY_MODEL, KEY)) == 1
    assert len(again.get_wrappers(WrappersMP.APPLY_MODEL, COMPILE_KEY)) == 1
    assert compilations_of(again) is not compilations_of(made)


@pytest.mark.parametrize("order", ["share first", "compile first"])
def test_with_shared_activations(order, model, sample):
    expected = sample(model)
    if order == "share first":
        made, _ = compiled(shared_activations(model)[0], "eager")
    else:
        made, _ = shared_activations(compiled(model, "eager")[0])
    assert close(sample(made), expected)
    assert compilations_of(made).graphs <= 2
    assert not compilations_of(made).again


def test_calibrating_runs_uncompiled(model, sample):
    made, _ = compiled(model, "eager")
    recorded, calibration = calibrated(made)
    sample(recorded)
    assert calibration.calls == 2
    assert compilations_of(made).graphs == 0


def test_offloading_is_told(model):
    attach(model, OffloadSettings("block"), [], [])
    _, notes = compiled(model, "eager")
    assert any("run uncompiled" in note for note in notes)


def test_no_compiler_is_a_note(model, sample, monkeypatch):
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none():
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    monkeypatch.setattr("x2v_quant.runtime.compiling.apply.TORCH", "/torch")
    made, notes = compiled(model)
    assert made is model
    assert notes == ["not compiled: inductor needs a C++ compiler for models on the CPU, and there is none"]


@pytest.mark.skipif(os.name == "nt", reason="torch quotes its folder on Windows")
def test_a_folder_that_inductor_cannot_link_to_is_a_note(model, monkeypatch):
    monkeypatch.setattr("x2v_quant.runtime.compiling.apply.TORCH", "/my models/torch")
    made, notes = compiled(model)
    assert made is model
    assert notes == [
        "not compiled: inductor cannot link for models on the CPU where torch's folder has a space in its path "
        "(/my models/torch)"
    ]


def test_a_model_without_blocks_is_compiled_as_a_whole(model):
    del model.model.diffusion_model.blocks[1:]
    made, notes = compiled(model, "eager")
    assert notes == ["WanModel has no blocks: it is compiled as a whole"]
    assert compilations_of(made).blocks == 1
