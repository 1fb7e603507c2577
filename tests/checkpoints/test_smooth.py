"""Layers with a pre_quant_scale of their own: read as the smoothed weight that they are, or refused."""

import json

import pytest
import torch

from x2v_quant.checkpoints import CheckpointError

Q = "blocks.1.self_attn.q"
N, K = 8, 16
PLAIN = ("int8-channel", "fp8-channel")


def factors():
    return torch.rand(K, generator=torch.Generator().manual_seed(4)) + 0.1


def marker(name):
    return torch.tensor(list(json.dumps({"format": name}).encode()), dtype=torch.uint8)


@pytest.mark.parametrize("format_name", PLAIN)
@pytest.mark.parametrize("shape", [(K,), (1, K)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
def test_it_is_the_smoothed_weight(format_name, shape, dtype, marked, wan, opened):
    tensors = wan(format_name)
    tensors[f"{Q}.pre_quant_scale"] = factors().to(dtype).view(shape)
    if marked:
        tensors[f"{Q}.comfy_quant"] = marker(f"{format_name}-smooth")
    checkpoint = opened(tensors)
    assert checkpoint.problems == []
    assert checkpoint.formats == {format_name: 3, f"{format_name}-smooth": 1}
    assert [note for note in checkpoint.notes if note.startswith("1 smoothed layers")]
    stored = checkpoint.load().quantized[Q]
    assert stored.tensors["pre_quant_scale"].dtype == torch.float32
    assert stored.tensors["pre_quant_scale"].shape == (K,)
    weight = stored.wrap(torch.float32).dequantize()
    scale, factor = tensors[f"{Q}.weight_scale"].float(), factors().to(dtype).float()
    torch.testing.assert_close(weight, tensors[f"{Q}.weight"].float() * scale * factor)


def test_what_the_marker_says_has_to_be_there(wan, opened):
    tensors = wan()
    tensors[f"{Q}.comfy_quant"] = marker("int8-channel-smooth")
    (problem,) = opened(tensors).problems
    assert problem.cause == "has no pre_quant_scale, which int8-channel-smooth layers have"


def test_a_name_of_cores_leaves_no_room_for_it(wan, opened):
    """Core would load the layer and leave the factors out."""
    tensors = wan()
    tensors |= {f"{Q}.comfy_quant": marker("int8_tensorwise"), f"{Q}.pre_quant_scale": factors()}
    (problem,) = opened(tensors).problems
    assert (problem.key, "smooths the activations" in problem.cause) == (f"{Q}.pre_quant_scale", True)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_that_cannot_be_is_refused(value, wan, opened):
    tensors = wan()
    tensors[f"{Q}.pre_quant_scale"] = factors()
    tensors[f"{Q}.pre_quant_scale"][3] = value
    with pytest.raises(CheckpointError, match=rf"{Q}\.pre_quant_scale has a smoothing factor that is zero"):
        opened(tensors).load()


def test_a_static_input_scale_beside_it_is_passed_over(wan, opened):
    tensors = wan("fp8-channel")
    tensors |= {f"{Q}.pre_quant_scale": factors(), f"{Q}.input_scale": torch.tensor(0.5)}
    checkpoint = opened(tensors)
    assert checkpoint.problems == []
    assert checkpoint.layers[Q].format == "fp8-channel-smooth"


def test_a_fused_layer_shares_its_factors(write):
    from x2v_quant.checkpoints import open_checkpoint

    fused = "visual.transformer.0.attn.to_qkv"
    tensors = {
        f"{fused}.weight": torch.ones((3 * N, K), dtype=torch.int8),
        f"{fused}.weight_scale": torch.ones(3 * N, 1),
        f"{fused}.pre_quant_scale": factors(),
        "visual.head": torch.zeros(8, 8),
    }
    quantized = open_checkpoint(write(tensors, "clip.pth")).load().quantized
    assert len(quantized) == 3
    for stored in quantized.values():
        assert stored.tensors["codes"].shape == (N, K)
        assert torch.equal(stored.tensors["pre_quant_scale"], factors())
