"""From calibration to a smoothed file: what it makes of a model with planted outliers, and of one without."""

import pytest
import safetensors.torch
import torch
from distance import distance

from x2v_quant.calibration import DEFAULT_ALPHA, smooth_layers
from x2v_quant.calibration.recorder import calibrated
from x2v_quant.formats import FORMATS, SMOOTHED
from x2v_quant.loading.dit import load_dit
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
CHANNELS, TIMES = (3, 77, 130, 201), 300.0


def plant(tensors):
    """Outliers in the inputs of cross_attn.q and of both o; the model computes what it did."""
    tensors = {name: tensor.float() for name, tensor in tensors.items()}
    index = list(CHANNELS)
    for name in {".".join(key.split(".")[:2]) for key in tensors if key.startswith("blocks.")}:
        for end in ("weight", "bias"):
            tensors[f"{name}.norm3.{end}"][index] *= TIMES
            for attention in ("self_attn", "cross_attn"):
                tensors[f"{name}.{attention}.v.{end}"][index] *= TIMES
        for layer in ("cross_attn.q", "self_attn.o", "cross_attn.o"):
            tensors[f"{name}.{layer}.weight"][:, index] /= TIMES
    return tensors


@pytest.fixture(params=["planted", "plain"])
def tensors(request, wan_paths):
    tensors = safetensors.torch.load_file(wan_paths[0])
    return plant(tensors) if request.param == "planted" else {name: tensor.float() for name, tensor in tensors.items()}


@pytest.mark.parametrize("alpha", [DEFAULT_ALPHA, None], ids=["default", "searched"])
def test_int8_output_error(alpha, tensors, load_model, sample, tmp_path, wan_paths):
    dense = load_model(tensors)
    clone, calibration = calibrated(dense)
    expected = sample(clone)
    quantized = safetensors.torch.load_file(wan_paths[1])
    layers = {name.removesuffix(".weight_scale"): "int8-channel" for name in quantized if name.endswith("_scale")}
    found = smooth_layers(calibration, layers, lambda layer: tensors[f"{layer}.weight"], alpha)
    factors = {layer: smoothing.pre_quant_scale for layer, smoothing in found.items()}

    def error(name, factors):
        path = tmp_path / name
        safetensors.torch.save_file(written(tensors, layers, factors), path)
        latents = sample(load_dit(str(path), SchemeChoice(dit="reference", compute_dtype="fp32")))
        return distance(latents, expected)

    plain, smooth = error("plain.safetensors", {}), error("smooth.safetensors", factors)
    planted = tensors["blocks.0.norm3.weight"].max() > TIMES / 2
    assert smooth <= (plain / 3 if planted else plain * 1.05)
    if planted:
        assert factors["blocks.0.cross_attn.q"][list(CHANNELS)].max() < 0.1


def written(tensors, layers, factors):
    """The file of the model with `layers` quantized, those with a factor smoothed."""
    result = dict(tensors)
    for layer, format_name in layers.items():
        factor = factors.get(layer)
        options = {} if factor is None else {"pre_quant_scale": factor}
        row = FORMATS[format_name if factor is None else SMOOTHED[format_name]]
        held = row.quantize(tensors[f"{layer}.weight"], torch.float32, **options)
        result |= held.state_dict(f"{layer}.weight") | {f"{layer}.{end}": tensor for end, tensor in options.items()}
    return result
