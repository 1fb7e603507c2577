"""What rounding is worth on a layer with outlier channels, in dB of its outputs."""

import pytest
from outlier_layer import outlier_layer

# (format, method, activations) -> least dB
LEAST = {
    ("int8-channel", "nearest", "float"): 41.0,
    ("int8-channel", "gptq", "float"): 44.5,
    ("int8-convrot", "nearest", None): 37.0,
    ("int8-convrot", "gptq", None): 40.5,
    ("int4-g128", "nearest", None): 18.0,
    ("int4-g128", "mse", None): 19.5,
    ("int4-g128", "weighted", None): 24.0,
    ("int4-g128", "gptq", None): 23.5,
    ("nvfp4", "gptq", "float"): 25.0,
    ("w4a8", "nearest", None): 22.0,
    ("w4a8", "gptq", None): 34.0,
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method", "activation"), LEAST, ids=lambda part: str(part))
def test_decibels(name, method, activation):
    layer = outlier_layer()
    assert layer.snr(name, layer.tensors(name, method), activation) >= LEAST[name, method, activation]
