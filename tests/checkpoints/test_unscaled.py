"""fp8 without scales is a plain cast, or a file whose scales got lost: which, and what becomes of it."""

import pytest
import torch
from one_layer import marker

from x2v_quant.checkpoints import CheckpointError, read_outline

Q, K = "blocks.1.self_attn.q", "blocks.0.self_attn.k"
F8, F5 = torch.float8_e4m3fn, torch.float8_e5m2
HEAD, NORM, EMBEDDING = "head.head.weight", "blocks.0.self_attn.norm_q.weight", "text_embedding.0.weight"


def values(stored):
    return stored.wrap(torch.float32).dequantize()


@pytest.fixture
def dense(wan):
    """The Wan with weights as models have them, in place of its codes"""
    generator = torch.Generator().manual_seed(1)
    tensors = {key: tensor for key, tensor in wan("fp8-channel").items() if not key.endswith("scale")}
    for key, tensor in tensors.items():
        if tensor.dtype is F8 or key == HEAD:
            tensors[key] = (torch.randn(tensor.shape, generator=generator) * 0.05).to(torch.bfloat16)
    return tensors | {EMBEDDING: torch.randn(8, 32, generator=generator), NORM: torch.rand(8, generator=generator)}


@pytest.mark.parametrize("dtype", [F8, F5])
def test_a_whole_file_that_was_cast(dtype, dense, opened):
    cast = {key: tensor.to(dtype) for key, tensor in dense.items()}
    checkpoint = opened(cast)
    checkpoint.require("dit")
    assert checkpoint.formats == {"fp8-channel": 4}
    weights = checkpoint.load()
    for layer, stored in weights.quantized.items():
        assert torch.equal(values(stored), cast[f"{layer}.weight"].float())
    for key in (HEAD, EMBEDDING, NORM, f"{Q}.bias", "patch_embedding.weight"):
        assert weights.plain[key].dtype is torch.bfloat16
        assert torch.equal(weights.plain[key].float(), cast[key].float())
    assert weights.notes[0].startswith("4 fp8 layers have no scale: a plain cast")
    measured = [note for note in weights.notes if "e4m3 of e5m2" in note]
    assert len(measured) == (dtype is F5)
    assert set(weights.notes) - set(measured) <= set(checkpoint.notes)
    assert weights.quantized[Q].tensors["codes"].dtype is F8


@pytest.mark.parametrize("scale", [0.003, torch.rand(8, 1) * 0.01])
@pytest.mark.parametrize("name", ["scale_weight", "weight_scale"])
def test_e5m2_with_a_scale_keeps_its_values(name, scale, wan, opened):
    codes = (torch.randn(8, 16) * 3000).to(F5)
    tensors = wan("fp8-channel") | {f"{Q}.weight": codes, f"{Q}.{name}": torch.as_tensor(scale).float()}
    if name != "weight_scale":
        del tensors[f"{Q}.weight_scale"]
    checkpoint = opened({**tensors, "scaled_fp8": torch.zeros(2, dtype=F5)})
    stored = checkpoint.load().quantized[Q]
    assert stored.format == "fp8-channel"
    expected = codes.float() * scale
    torch.testing.assert_close(values(stored), expected, rtol=1e-6, atol=2**-17 * float(expected.abs().max()))
    assert any(note.startswith("1 layers are fp8 e5m2") for note in checkpoint.aloud)


def test_what_e5m2_loses_is_as_small_as_told(wan, opened):
    codes = torch.tensor([2.0**k for k in range(-15, 1)]).repeat(8, 1).to(F5)
    tensors = wan("fp8-channel") | {f"{Q}.weight": codes, f"{Q}.weight_scale": torch.ones(8, 1)}
    found = values(opened(tensors).load().quantized[Q])
    assert torch.equal(found[:, 1:], codes.float()[:, 1:])


SCALES = {
    "per row": torch.rand(8, 1) * 0.01 + 1e-3,
    "per row, flat": torch.rand(8) * 0.01 + 1e-3,
    "one": torch.tensor(0.003),
    "one of two dimensions": torch.tensor([[0.003]]),
}


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("marked", [True, False])
def test_e5m2_is_told_by_its_marker_and_without(marked, scale, wan, opened):
    codes = (torch.randn(8, 16) * 3000).to(F5)
    tensors = wan("fp8-channel") | {f"{Q}.weight": codes, f"{Q}.weight_scale": scale}
    if marked:
        tensors[f"{Q}.comfy_quant"] = marker("float8_e5m2")
    checkpoint = opened(tensors)
    checkpoint.require("dit")
    found = values(checkpoint.load().quantized[Q])
    expected = codes.float() * scale.reshape(-1, 1)
    assert (found - expected).norm() <= 1e-6 * expected.norm()


# 1024 takes e4m3's step to 2**-7 at the small end, in the middle of which 3 * 2**-8 is
SMALL_BESIDE_LARGE = torch.tensor([1024.0, *[3 * 2.0**-8] * 15]).repeat(8, 1).to(F5)


def lost(notes):
    (line,) = (note for note in notes if "e4m3 of e5m2" in note)
    return line


def test_what_e5m2_loses_is_measured(wan, opened):
    codes = SMALL_BESIDE_LARGE
    tensors = wan("fp8-channel") | {f"{Q}.weight": codes, f"{Q}.weight_scale": torch.full((8, 1), 0.5)}
    weights = opened(tensors).load()
    before, after = codes.float() * 0.5, values(weights.quantized[Q])
    share = float((after - before).norm() / before.norm())
    assert 1e-6 < share < 1e-4
    expected = f"1 layers were made e4m3 of e5m2: the weights are {100 * share:.2g} % off those of the file by it"
    assert lost(weights.notes).startswith(expected)


def test_next_to_nothing_lost_is_said_without_figures(wan, opened):
    codes = torch.tensor([2.0**15, *[2.0**-8] * 15]).repeat(8, 1).to(F5)
    tensors = wan("fp8-channel") | {f"{Q}.weight": codes, f"{Q}.weight_scale": torch.full((8, 1), 2.0**-14)}
    expected = "1 layers were made e4m3 of e5m2: the weights are less than 0.0001 % off those of the file by it"
    assert lost(opened(tensors).load().notes).startswith(expected)


def test_nothing_lost_is_said_too(wan, opened):
    tensors = wan("fp8-channel") | {f"{Q}.weight": torch.ones(8, 16).to(F5), f"{Q}.weight_scale": torch.ones(8, 1)}
    assert lost(opened(tensors).load().notes) == "1 layers were made e4m3 of e5m2: no weight is changed by it"
    assert not any("e5m2" in note for note in opened(wan("fp8-channel")).load().notes)


def test_inspect_says_it_as_well(wan, opened):
    tensors = wan("fp8-channel") | {f"{Q}.weight": SMALL_BESIDE_LARGE, f"{Q}.weight_scale": torch.ones(8, 1)}
    checkpoint = opened(tensors)
    told = lost(read_outline(checkpoint).notes)
    assert "(measured)" in told
    assert told == lost(opened(tensors).load().notes)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_e5m2_that_is_no_number(value, wan, opened):
    codes = torch.full((8, 16), value).to(F5)
    tensors = wan("fp8-channel") | {f"{Q}.weight": codes}
    with pytest.raises(CheckpointError, match=rf"{Q}\.weight contains NaN or infinity"):
        opened(tensors).load()


@pytest.mark.parametrize("dtype", [F8, F5])
@pytest.mark.parametrize("key", [HEAD, EMBEDDING, "blocks.0.face.k.weight", NORM, f"{Q}.bias", "blocks.0.modulation"])
def test_fp8_beside_layers_with_scales(key, dtype, dense, wan, opened):
    """Wan Animate's files: scaled blocks, the rest cast."""
    tensor = dense.get(key, torch.randn(8, 16 if key.endswith("k.weight") else 8)).to(dtype)
    checkpoint = opened({**wan("fp8-channel"), key: tensor})
    checkpoint.require("dit")
    weights = checkpoint.load()
    layer = key.removesuffix(".weight")
    found = values(weights.quantized[layer]) if layer in weights.quantized else weights.plain[key].float()
    assert torch.equal(found, tensor.float())
    assert len(checkpoint.aloud) >= 1


def test_a_layer_whose_like_has_a_scale_is_refused(wan, opened):
    tensors = wan("fp8-channel")
    del tensors[f"{Q}.weight_scale"]
    (problem,) = opened(tensors).problems
    assert (problem.key, problem.cause) == (f"{Q}.weight", "has no scale")
    assert "download" in problem.remedy


# what is done to a file with scales -> words of the refusal
LOST = {
    "all deleted": (lambda layer, tensors: tensors.pop(f"{layer}.weight_scale"), "needs one: its codes go up to"),
    "unknown name": (
        lambda layer, tensors: tensors.update({f"{layer}.wscal": tensors.pop(f"{layer}.weight_scale")}),
        "has no scale",
    ),
    "of another layer": (
        lambda layer, tensors: tensors.update({f"{layer}x.weight_scale": tensors.pop(f"{layer}.weight_scale")}),
        "is a scale without a weight",
    ),
}


@pytest.mark.parametrize("change,words", LOST.values(), ids=LOST)
def test_scales_that_got_lost_are_no_plain_cast(change, words, wan, opened):
    tensors = wan("fp8-channel")
    for layer in (f"blocks.{i}.self_attn.{name}" for i in range(2) for name in "qk"):
        tensors[f"{layer}.weight"][:, 0] = 448.0
        change(layer, tensors)
    checkpoint = opened(tensors)
    with pytest.raises(CheckpointError) as error:
        checkpoint.require("dit")
        checkpoint.load()
    assert words in str(error.value)


@pytest.mark.parametrize("end", ["weight_scale", "scale_weight"])
def test_int8_is_never_a_plain_cast(end, wan, opened):
    tensors = {key: tensor for key, tensor in wan().items() if not key.endswith("scale")}
    assert {problem.cause for problem in opened(tensors).problems} == {"has no scale"}
