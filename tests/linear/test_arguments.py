"""What newer ComfyUI hands to a linear layer beside its input, against the formula in float32."""

import itertools
from functools import partial

import comfy.ops
import pytest
import torch
from layers import HOLDING, K, N, layer_of
from older_comfyui import core_fuses_activations

from x2v_quant.calibration import Calibration
from x2v_quant.calibration.recorder import Recorder
from x2v_quant.calibration.shared_samples import SharedSamples
from x2v_quant.linear.arguments import ACTIVATIONS, Fused, multiplied, named_by
from x2v_quant.linear.layers import hooked

pytestmark = pytest.mark.usefixtures("inference")
EPS = 1e-3
every_format = pytest.mark.parametrize("format_name", [*HOLDING, "float"])
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
ONE_OF_A_KIND = ("int8-channel", "int8-convrot", "fp8-tensor", "mxfp8", "nvfp4", "w4a8")
# rounded once: half a step of the type, relative to the largest value
STEP = {torch.float32: 2**-22, torch.bfloat16: 2**-7, torch.float16: 2**-10}


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def norm_of(kind):
    """The two ways in which releases hand over a norm -> the arguments."""
    weight = 1 + 0.2 * randn(K, seed=1)
    if kind == "tensor":
        return {"act_weight": weight, "act_eps": EPS}
    norm = comfy.ops.manual_cast.RMSNorm(K, eps=EPS, device="cpu", dtype=torch.float32)
    norm.weight.copy_(weight)
    return {"act_weight": norm}


def by_formula(input_act, x):
    """What is multiplied, in float32."""
    if input_act == "swiglu":
        return x[..., :K] / (1 + torch.exp(-x[..., :K])) * x[..., K:]
    if input_act == "gelu_tanh":
        return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))
    if input_act == "rms_norm":
        return x / torch.sqrt(x.square().mean(-1, keepdim=True) + EPS) * (1 + 0.2 * randn(K, seed=1))
    return x


def scales(name):
    """name of the scale -> arguments and what it is."""
    scale = {"plain": None, "row": randn(N, seed=3), "token": randn(2, 3, N, seed=3), "number": 0.25}
    return [({} if value is None else {name: value}, 1.0 if value is None else value) for value in scale.values()]


@every_dtype
@every_format
@pytest.mark.parametrize("input_act", [None, *ACTIVATIONS])
def test_an_activation_is_the_formula_before_the_layer(input_act, format_name, dtype):
    layer = layer_of(format_name)
    x = randn(2, 3, 2 * K if input_act == "swiglu" else K).to(dtype)
    wanted = by_formula(input_act, x.float()).to(dtype)
    for more in [norm_of("tensor"), norm_of("module")] if input_act == "rms_norm" else [{}]:
        got = multiplied((x,), {"input_act": input_act, **more})
        assert got.dtype == dtype
        assert (got.float() - wanted.float()).abs().max() <= STEP[dtype] * wanted.abs().max().float()
        y = layer(x, input_act=input_act, **more)
        assert y.dtype == dtype
        assert torch.equal(y, layer(got))


@every_dtype
@every_format
@pytest.mark.parametrize("name", ["residual_scale", "gate"])
@pytest.mark.parametrize("input_act", [None, "swiglu"])
def test_a_residual_is_the_formula_behind_the_layer(input_act, name, format_name, dtype):
    layer = layer_of(format_name)
    x = randn(2, 3, 2 * K if input_act == "swiglu" else K).to(dtype)
    y = layer(x, input_act=input_act).float()
    for residual_dtype in {dtype, torch.float32}:
        residual = randn(2, 3, N, seed=2).to(residual_dtype)
        for given, scale in scales(name):
            wanted = residual.float() + scale * y
            got = layer(x, input_act=input_act, residual=residual, **given)
            assert got.dtype == residual_dtype
            assert (got.float() - wanted).abs().max() <= STEP[residual_dtype] * wanted.abs().max()


@pytest.mark.parametrize("format_name", ["int8-channel", "float"])
def test_by_position_as_by_name(format_name):
    layer = layer_of(format_name)
    x, residual, scale = randn(4, K), randn(4, N, seed=2), randn(N, seed=3)
    weight, norm = norm_of("tensor")["act_weight"], norm_of("module")["act_weight"]
    wanted = layer(x, input_act="rms_norm", act_weight=weight, act_eps=EPS, residual=residual, residual_scale=scale)
    assert torch.equal(layer(x, "rms_norm", weight, EPS, residual, scale), wanted)
    assert torch.equal(layer(x, "rms_norm", norm, residual, scale), wanted)
    assert torch.equal(layer(x, "rms_norm", weight, act_eps=EPS, residual=residual, gate=scale), wanted)
    assert torch.equal(layer(input=x, input_act=None), layer(x))
    # what a release hands over where nothing is fused
    assert torch.equal(layer(x, None, None, 0.0, None, None), layer(x))
    assert torch.equal(layer(x, None, None, None, None), layer(x))


@pytest.mark.parametrize("format_name", ["int8-channel", "float"])
@pytest.mark.parametrize(
    "args,kwargs,told",
    [
        ((), {"output_act": "silu"}, "output_act"),
        ((), {"scale": None}, "scale"),
        ((), {"input_act": "silu"}, "'silu'"),
        (("relu",), {}, "'relu'"),
        ((None, None, 0.0, None, None, None, 3), {}, "positional argument 7"),
        ((None, None, torch.ones(N), None, None, 3), {}, "positional argument 6"),
        ((), {"act_weight": torch.ones(K)}, "act_weight"),
        ((), {"input_act": "swiglu", "act_eps": EPS}, "act_eps"),
        ((), {"residual_scale": 2.0}, "residual_scale"),
        ((), {"gate": torch.ones(N)}, "gate"),
        ((), {"residual": torch.ones(N), "residual_scale": 2.0, "gate": 2.0}, "residual_scale and with gate"),
        (("swiglu",), {"input_act": "swiglu"}, "input_act"),
    ],
)
def test_what_would_be_dropped_raises_with_its_name(format_name, args, kwargs, told):
    with pytest.raises(TypeError, match=told):
        layer_of(format_name)(randn(2, 2 * K), *args, **kwargs)


def test_every_combination_is_computed_or_told():
    """An argument changes the result or raises: none is without effect."""
    layer = layer_of("int8-channel")
    values = {
        "input_act": [None, "gelu_tanh", "rms_norm", "swiglu"],
        "act_weight": [None, 1 + randn(K, seed=1)],
        "act_eps": [None, 2.0],
        "residual": [None, randn(N, seed=2)],
        "residual_scale": [None, 0.5],
        "gate": [None, 0.25],
    }
    results, refused = {}, 0
    for combination in itertools.product(*values.values()):
        given = {name: value for name, value in zip(values, combination, strict=True) if value is not None}
        x = randn(2, 2 * K if given.get("input_act") == "swiglu" else K)
        try:
            results[str(given)] = layer(x, **given).flatten().tolist()
        except TypeError as error:
            refused += 1
            assert any(name in str(error) for name in given)
    assert len(results) + refused == 128
    assert len(results) == 7 * 4  # of an activation with what belongs to it, of a residual with one scale or none
    assert len({tuple(values) for values in results.values()}) == len(results)


def test_an_argument_that_cores_own_layer_names_is_left_to_it(monkeypatch):
    """A layer that is not quantized: core may have a kernel for it."""
    layer = layer_of("float")
    base = next(kind for kind in type(layer).__mro__ if kind.__module__ == comfy.ops.__name__)
    seen = []

    def forward(self, input, input_act=None, residual=None):
        seen.append((input_act, residual))
        return input

    monkeypatch.setattr(base, "forward", forward)
    monkeypatch.setattr(type(layer), "named_by_core", named_by(forward))
    x = randn(2, K)
    assert layer(x, input_act="gelu_tanh", residual_scale=None) is x
    assert seen == [("gelu_tanh", None)]
    layer(x, residual=torch.ones(K), residual_scale=2.0)  # which this one does not name
    assert seen[1:] == [(None, None)]


@core_fuses_activations
@every_format
def test_cores_function_for_it_finds_no_other_way_around_the_layer(format_name):
    """comfy.ops.linear_input_act, of the release that runs here, takes only its own layout for a fused kernel."""
    layer = layer_of(format_name)
    for input_act in ("gelu_tanh", "swiglu"):
        x = randn(3, 2 * K if input_act == "swiglu" else K)
        got = comfy.ops.linear_input_act(layer, x, input_act)
        wanted = layer(x, input_act=input_act)
        assert (got - wanted).norm() < 0.005 * wanted.norm()


@every_format
def test_newer_releases_are_told_to_call_the_layer(format_name):
    """Their linear_input_act multiplies a layer in core's own layout itself unless this is set, which core saves under
    another name."""
    layer = layer_of(format_name)
    assert layer._full_precision_mm == (format_name != "float")
    assert not layer._full_precision_mm_config


def test_a_calibration_sees_what_is_multiplied():
    layer, calibration = layer_of("float"), Calibration()
    x = randn(5, 2 * K)
    with hooked({"layer": layer}, before=partial(Recorder(calibration).record, SharedSamples(0))):
        layer(x, input_act="swiglu", residual=torch.ones(N))
    expected = Calibration()
    with hooked({"layer": layer}, before=partial(Recorder(expected).record, SharedSamples(0))):
        layer(Fused("swiglu").activated(x))
    assert torch.equal(calibration.maxima["layer"], expected.maxima["layer"])
    assert torch.equal(calibration.squares["layer"], expected.squares["layer"])
    assert calibration.tokens == expected.tokens == {"layer": 5}


@pytest.mark.parametrize("format_name", [*filter(HOLDING.__contains__, ONE_OF_A_KIND), "float"])
def test_it_is_compiled_without_a_break(format_name):
    layer, x = layer_of(format_name), randn(3, 2 * K)
    torch._dynamo.reset()
    made = torch.compile(layer, backend="eager", fullgraph=True)
    given = {"input_act": "swiglu", "residual": randn(3, N, seed=2), "gate": randn(N, seed=3)}
    assert torch.equal(made(x, **given), layer(x, **given))
    torch._dynamo.reset()
