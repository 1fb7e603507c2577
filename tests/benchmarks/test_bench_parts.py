"""The parts of x2v-quant bench measure what they say: real sizes, peers that compute the same, files core reads."""

import importlib
import sys
from collections import Counter
from dataclasses import replace

import comfy.clip_model
import comfy.ldm.wan.model
import comfy.ops
import comfy.text_encoders.t5
import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from distance import distance

from x2v_quant.benchmarks import blocks, core_loaders, encoders, linear, loading, models, page_cache, sampling, shapes
from x2v_quant.benchmarks.converting import CONVERSIONS
from x2v_quant.benchmarks.peers import PEERS, computing_dtype
from x2v_quant.benchmarks.wan import WanSize, dit
from x2v_quant.demo.quantize import SELECTION
from x2v_quant.formats import FORMATS
from x2v_quant.kernels import FAST, MEMORY
from x2v_quant.kernels.machine import Machine, default_device, describe
from x2v_quant.kernels.timing.case import Case
from x2v_quant.kernels.timing.clock import QUICK, Effort
from x2v_quant.schemes.plan import TRANSCODES

HERE = describe(default_device())


def core_block(model: shapes.Model) -> torch.nn.Module:
    """One block of ComfyUI's own model at its real size, without memory."""
    made = {"dtype": torch.bfloat16, "device": "meta", "operations": comfy.ops.manual_cast}
    if model.component == "dit":
        make = comfy.ldm.wan.model.WanAttentionBlock
        settings = {"operations": made["operations"], "device": "meta", "dtype": made["dtype"]}
        return make("t2v_cross_attn", model.width, model.mlp, model.heads, operation_settings=settings)
    if model.component == "t5":
        t5 = comfy.text_encoders.t5
        inner = model.heads * 64
        return t5.T5Block(model.width, inner, model.mlp, "gelu_pytorch_tanh", True, model.heads, True, *made.values())
    return comfy.clip_model.CLIPLayer(model.width, model.heads, model.mlp, "gelu", *made.values())


@pytest.mark.parametrize("model", shapes.MODELS, ids=lambda model: model.name)
def test_the_sizes_are_those_of_cores_models(model):
    ours = Counter()
    for layer in model.layers:
        # core keeps q, k and v apart
        fused = 3 if layer.group == "attn.to_qkv" else 1
        ours[layer.n // fused, layer.k] += layer.weights * fused
    core = Counter(
        (module.out_features, module.in_features)
        for module in core_block(model).modules()
        if isinstance(module, torch.nn.Linear)
    )
    assert ours == core


@pytest.mark.parametrize(
    "component,weights",
    [
        ("dit", lambda: dit(0, WanSize(dim=128, ffn=256, blocks=1), image_to_video=False)),
        ("t5", lambda: encoders.umt5(0, 8, width=128, ffn=256, blocks=1)),
        ("clip", lambda: encoders.clip_vision(0, width=128, mlp=256, blocks=1)),
    ],
    ids=["dit", "t5", "clip"],
)
def test_the_groups_are_the_layers_of_a_block_that_are_quantized(component, weights):
    place, words = SELECTION[component]
    quantized = [
        name
        for name, tensor in weights().items()
        if name.endswith(".weight") and tensor.ndim == 2 and name.split(".")[place : place + 1] in [[w] for w in words]
    ]
    for model in shapes.MODELS:
        if model.component == component:
            assert sum(layer.weights for layer in model.layers) == len(quantized)


@pytest.mark.parametrize("name", ["torch bf16", "torch fp32", "ComfyUI int8", "ComfyUI fp8", "torchao int8"])
def test_every_peer_computes_the_same_product(name, inference):
    peer = next(peer for peer in PEERS if peer.name == name)
    if peer.why_not(HERE):
        pytest.skip(peer.why_not(HERE))
    dtype = peer.dtype or computing_dtype(HERE)
    device = default_device()
    generator = torch.Generator().manual_seed(0)
    weight, x = (torch.randn(size, generator=generator).to(device) for size in ((96, 64), (32, 64)))
    bias = torch.randn(96, generator=generator).to(device)
    y = peer.build(weight.to(dtype), bias.to(dtype))(x.to(dtype))
    expected = torch.nn.functional.linear(x, weight, bias)
    assert (y.shape, y.dtype) == (expected.shape, dtype)
    error = distance(y.float(), expected)
    # fp8's step is 1/16 of a value, that of int8 1/127 of the largest
    assert error < {"ComfyUI fp8": 0.06}.get(name, 0.02)


def test_a_peer_that_is_too_slow_is_left_out_with_its_time():
    pace = linear.Pace(patience=2.0)
    assert pace.too_slow("a", 10**12) is None
    pace.note("a", products=10**9, seconds=0.1)
    assert pace.too_slow("a", 10**10) is None
    assert pace.too_slow("a", 10**11) == "would take about 10 s a run, judging by smaller layers"
    assert pace.too_slow("b", 10**11) is None


def test_linear_measures_each_format_against_each_peer(monkeypatch):
    layer = shapes.Layer("small", 64, 128, 1, 16, 16)
    model = replace(shapes.CLIP_H, layers=(layer,))
    monkeypatch.setattr(linear, "_work", lambda effort: [(model, layer)])
    cases = linear.cases(Effort(rounds=1, least=1))
    formats = set(linear._choices(HERE, (128, 64), computing_dtype(HERE)))
    named = Counter(tuple(case.name.split(", ", 2)[2].split(" vs ")) for case in cases)
    assert {peer for _, peer in named} == {peer.name for peer in PEERS}
    assert {what.split(" (")[0] for what, _ in named} == formats
    assert set(named.values()) == {1}
    assert all((case.theirs is None) == (case.absent is not None) for case in cases)
    assert all(case.ours > 0 for case in cases)


def test_a_layer_that_everyone_is_too_slow_for_is_not_lost(monkeypatch):
    monkeypatch.setattr(linear.Pace, "too_slow", lambda pace, peer, products: "would take ages")
    cases = linear.cases(QUICK)
    formats = linear._choices(HERE, (1280, 1280), computing_dtype(HERE))
    assert len(cases) == len(PEERS) * len(formats)
    assert all((case.ours, case.theirs) == (None, None) and case.absent for case in cases)


ROTATED_TOO = {"int8-channel", "int8-convrot", "w4a8", "convrot-w4a4"} & set(FORMATS)


@pytest.mark.parametrize(
    "vnni,formats", [(True, ROTATED_TOO), (False, set(linear.USUAL))], ids=["vnni", "without-vnni"]
)
def test_without_low_precision_the_usual_formats_are_measured_dequantized(vnni, formats):
    machine = Machine("cpu", "CPU", vnni=vnni, libraries=frozenset())
    choices = linear._choices(machine, (128, 64), torch.bfloat16)
    assert set(choices) == formats
    assert {choice.kernel.good_for for choice in choices.values()} == ({FAST} if vnni else {MEMORY})


@pytest.mark.parametrize(
    "machine,tokens,peer,target",
    [
        (Machine("cpu", "CPU", vnni=True), 1024, "torch bf16", 1.5),
        (Machine("cpu", "CPU", vnni=True), 1024, "torch fp32", 2.5),
        (Machine("cpu", "CPU", vnni=True), 1024, "ComfyUI int8", None),
        (Machine("cpu", "CPU", vnni=True), 512, "torch bf16", None),
        (Machine("cuda", "H200", (9, 0)), 1024, "torch bf16", None),
    ],
)
def test_what_is_promised(machine, tokens, peer, target):
    layer = shapes.Layer("ffn.0", 1536, 8960, 1, shapes.VIDEO_TOKENS, tokens)
    assert linear._target(machine, layer, "int8", peer) == target
    assert linear._target(machine, layer, "float", peer) is None


def quick(part: str) -> list[Case]:
    return importlib.import_module(f"x2v_quant.benchmarks.{part}").cases(QUICK)


@pytest.mark.slow
def test_blocks_of_both_formats_against_core():
    cases = quick("blocks")
    assert [case.name.split(", ")[3].split(" ")[0] for case in cases] == ["int8-channel", "fp8-channel"]
    assert all("vs ComfyUI, bf16 file, computing" in case.name and case.ratio > 0 for case in cases)


@pytest.mark.parametrize("component", ["dit", "t5", "clip"])
def test_both_sides_of_a_stack_are_the_same_model(component, tmp_path, inference):
    stack = {
        "dit": lambda: blocks._wan(shapes.Model("small", "dit", 256, 512, 2, 1, ()), 1, (1, 16, 1, 8, 8)),
        "t5": lambda: blocks._t5(shapes.Model("small", "t5", 128, 256, 2, 1, ()), 1),
        "clip": lambda: blocks._clip(shapes.CLIP_H, 2),
    }[component]()
    files = stack.write(tmp_path, stack.blocks)
    core = stack.run(stack.core(files.dense, stack.blocks))
    for path in files.ours.values():
        ours = stack.run(stack.ours(str(path)))
        y, expected = (out["last_hidden_state"] if component == "clip" else out for out in (ours, core))
        assert y.shape == expected.shape
        # 8-bit weights and, where there are kernels, activations
        assert distance(y.float(), expected.float()) < 0.1


def test_sampling_against_the_dense_and_the_native_file():
    cases = quick("sampling")
    assert [case.name.split(" vs ")[1] for case in cases] == [
        peer for kind in sampling.KINDS for peer in (sampling.PEER, sampling.NATIVE_PEER.format(kind))
    ]
    for kind, dense, native in zip(sampling.KINDS, cases[::2], cases[1::2], strict=True):
        assert f" {kind}-channel (" in dense.name and dense.ratio > 0
        assert (native.ratio is None) == (sampling.impractical(kind, HERE) is not None)


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_core_reads_the_native_files(kind, tmp_path, inference):
    """As quantized layers, with the numbers of the dense file."""
    size = WanSize(dim=128, ffn=256, blocks=1, text=models.TEXT_WIDTH)
    files = models.write(tmp_path, dit(0, size, image_to_video=False), "dit", [kind], [kind])
    patchers = [core_loaders.load_dit(path) for path in (files.dense, files.native[kind])]
    dense, native = (patcher.model.diffusion_model.blocks[0].ffn[0].weight for patcher in patchers)
    assert isinstance(native, QuantizedTensor) and not isinstance(dense, QuantizedTensor)
    back = native.dequantize().float()
    assert distance(back, dense.float()) < {"int8": 0.01, "fp8": 0.04}[kind]


@pytest.mark.slow
def test_loading_is_timed_warm_and_cold():
    warm, cold = quick("loading")
    assert "warm" in warm.name and warm.ratio > 0
    assert "cold" in cold.name
    assert (cold.ratio is None) == (cold.absent is not None)


@pytest.mark.slow
def test_peak_memory_counts_what_is_read(tmp_path):
    pair = loading._pairs(tmp_path, QUICK)[0]
    assert loading.peak("dit", pair.ours) >= 0.9 * loading._megabytes(pair.ours)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux drops files from memory")
def test_a_file_is_dropped_from_memory(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(1 << 22))
    assert page_cache.cached_share(file) == 1
    reason = page_cache.why_not_cold(file)
    assert (page_cache.cached_share(file) <= page_cache.STILL_COLD) == (reason is None)
    file.read_bytes()
    assert page_cache.cached_share(file) == 1


def test_conversions_are_measured_against_their_peers():
    cases = quick("converting")
    assert [case.name.split(",")[0] for case in cases] == [
        f"{held or 'bf16'} to {target}" for held, target, peers in CONVERSIONS for _ in peers
    ]
    assert all(case.unit == "MB/s" and case.ours > 0 for case in cases)


def test_every_format_that_the_loaders_convert_has_a_case():
    measured = {(held, target) for held, target, _ in CONVERSIONS}
    assert {(held, target) for held, (target, _) in TRANSCODES.items()} <= measured
    assert {target for held, target in measured if held is None or not FORMATS[held].smooth} == {
        name for name, row in FORMATS.items() if not row.smooth and (not row.settings or row.family == name)
    }
