"""Weights that a kernel wants in another order or range are repacked once, at load, and stay the same numbers.

The kernels that want it need a GPU: here the reference computes in their place, under their names.
"""

import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from distance import distance

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import KERNELS, Kernel
from x2v_quant.kernels.reference import reference
from x2v_quant.loading.dit import load_dit
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
# scheme -> (its kernel, what the kernel wants, what the file holds)
CASES = {
    "int4-g128-marlin": ("marlin", "int4-g128-marlin", "int4-g128"),
    "fp8-f16-accum": ("triton-f16", "fp8-reduced", "fp8-channel"),
}
every_case = pytest.mark.parametrize("scheme", CASES)


def stand_in(name, format_name):
    activation = FORMATS[format_name].activation

    def linear(x, codes, params, bias):
        return reference(x, format_name, codes, params, bias, activation)

    return Kernel(name, format_name, linear, activation, "for a test")


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    rows = [stand_in(name, wanted) for name, wanted, _ in CASES.values()]
    monkeypatch.setattr("x2v_quant.kernels.registry.KERNELS", [*rows, *KERNELS])


def weights(model):
    named = model.model.diffusion_model.named_modules()
    return {n: m.weight for n, m in named if isinstance(getattr(m, "weight", None), QuantizedTensor)}


@every_case
def test_the_numbers_are_the_same(scheme, wan_files, sample, monkeypatch):
    import comfy.utils

    steps = []
    monkeypatch.setattr(comfy.utils.ProgressBar, "update", lambda self, value: steps.append((self.total, value)))
    kernel, wanted, held = CASES[scheme]
    path = wan_files[held][1]
    model = load_dit(path, SchemeChoice(dit=scheme))
    assert steps == [(20, 1)] * 20
    assert {w._layout_cls for w in weights(model).values()} == {FORMATS[wanted].layout_name}
    plain = weights(load_dit(path, SchemeChoice(dit="reference")))
    for name, weight in weights(model).items():
        error = distance(weight.dequantize(), plain[name].dequantize())
        # fp8-reduced rounds what becomes subnormal
        assert error < (1e-4 if wanted == "fp8-reduced" else 1e-9)
    words = "\n".join(model.model.x2v_plan.lines())
    assert f"20 layers {wanted} -> {kernel}" in words
    cost = "adds less than 0.1% to the error of the weights" if wanted == "fp8-reduced" else "changes no value"
    assert f"converted from {held}, which {cost}" in words
    expected = sample(load_dit(path, SchemeChoice(dit="reference")))
    # activations have another range, so another rounding
    assert (sample(model) - expected).norm() < (0.04 if wanted == "fp8-reduced" else 0.001) * expected.norm()


@every_case
def test_lora_requantizes_in_the_same_order_and_range(scheme, wan_files, sample, lora):
    import comfy.sd

    _, wanted, held = CASES[scheme]
    model = load_dit(wan_files[held][1], SchemeChoice(dit=scheme))
    before = sample(model)
    patched = comfy.sd.load_lora_for_models(model, None, lora(), 1.0, 0)[0]
    after = sample(patched)
    assert (after - before).norm() > 0.1 * before.norm()
    assert {w._layout_cls for w in weights(patched).values()} == {FORMATS[wanted].layout_name}
    if wanted == "fp8-reduced":
        assert max(w._qdata.float().abs().max() for w in weights(patched).values()) <= FORMATS[wanted].layout.MAX


@every_case
def test_saved_as_it_is_stored_it_loads_anywhere(scheme, wan_files, sample, tmp_path, monkeypatch):
    """On this machine no kernel wants the order, so the second load undoes it or keeps the bytes."""
    import comfy.sd

    _, _, held = CASES[scheme]
    path = wan_files[held][1]
    comfy.sd.save_checkpoint(str(tmp_path / "saved.safetensors"), load_dit(path, SchemeChoice(dit=scheme)))
    monkeypatch.setattr("x2v_quant.kernels.registry.KERNELS", KERNELS)
    again = load_dit(str(tmp_path / "saved.safetensors"))
    assert {w._layout_cls for w in weights(again).values()} == {FORMATS[held].layout_name}
    expected = sample(load_dit(path))
    assert (sample(again) - expected).norm() < 0.01 * expected.norm()


def test_a_file_in_marlins_order_loads_as_it_is_where_the_kernel_is(wan_files, monkeypatch):
    import comfy.utils

    steps = []
    monkeypatch.setattr(comfy.utils.ProgressBar, "update", lambda self, value: steps.append(value))
    model = load_dit(wan_files["int4-g128-marlin"][1], SchemeChoice(dit="int4-g128-marlin"))
    assert not steps
    assert not any(entry.converted for entry in model.model.x2v_plan.layers.values())


@pytest.mark.parametrize("codes", [14.0, 28.0])
def test_a_reduced_range_file_keeps_its_bytes(codes, wan_files, tmp_path):
    """LightX2V's files for FP16 accumulation hold codes up to 14: there is nothing to shift."""
    import safetensors
    import safetensors.torch

    path = wan_files["fp8-channel"][1]
    sd = safetensors.torch.load_file(path)
    for name in [n for n in sd if n.endswith("_scale")]:
        weight = name.removesuffix("_scale")
        sd[name] = sd[name] * (448 / codes)
        sd[weight] = (sd[weight].float() * (codes / 448)).to(torch.float8_e4m3fn)
    file = tmp_path / "reduced.safetensors"
    metadata = {"quantization_profile": "test-fp8-f16-accum", "weight_qmax": str(codes)}
    safetensors.torch.save_file(sd, file, metadata)
    stored = weights(load_dit(str(file), SchemeChoice(dit="fp8-f16-accum")))
    assert len(stored) == 20
    for name, weight in stored.items():
        assert torch.equal(weight._qdata.view(torch.uint8), sd[f"{name}.weight"].view(torch.uint8))
        torch.testing.assert_close(weight._params.scale, sd[f"{name}.weight_scale"].float(), rtol=0, atol=0)


def test_a_static_fp8_file_serves_schemes_with_a_scale_per_row(wan_files, sample):
    """Without transcode: the weights are the same numbers, the activations are quantized finer."""
    path = wan_files["fp8-tensor"][1]
    model = load_dit(path, SchemeChoice(dit="fp8-reference"))
    entries = model.model.x2v_plan.layers.values()
    assert {(e.file_format, e.choice.format, e.added_error) for e in entries} == {("fp8-tensor", "fp8-channel", 0.0)}
    expected = sample(load_dit(path))
    assert (sample(model) - expected).norm() < 0.06 * expected.norm()
