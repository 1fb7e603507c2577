"""What is said of smoothing."""

import torch

from x2v_quant.core.features import rotates_int8
from x2v_quant.kernels.machine import Machine
from x2v_quant.quantizing.smoother import sentences
from x2v_quant.schemes import resolve
from x2v_quant.schemes.plan import Plan


def test_sentences():
    plan = Plan("model", resolve("reference"), Machine("cpu", "CPU"), torch.float32)
    for layer, name in {"a": "int8-channel-smooth", "b": "int8-channel", "c": "int8-channel", "d": "nvfp4"}.items():
        plan.assign(layer, name, (64, 64))
    can = "fp8-channel, int8-channel and int8-convrot" if rotates_int8() else "fp8-channel and int8-channel"
    assert sentences(plan, list(plan.layers), {"a", "b", "d"}) == [
        "1 of 4 layers are smoothed.",
        "1 layer is more exact without smoothing, b for instance.",
        "1 layer is not smoothed: never called during calibration, c for instance.",
        f"1 layer is not smoothed: nvfp4 has no smoothing, only {can} have.",
    ]
    assert sentences(plan, ["a"], {"a"}) == ["1 of 1 layers are smoothed."]
    assert sentences(plan, ["d"], {"d"}) == []  # whoever chose nvfp4 expects none
