"""Every kernel that runs here against the float32 reference: formats x kernels x shapes x dtypes."""

import functools

import pytest
import torch
from recorded import Recorded
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.library import opcheck

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import KERNELS
from x2v_quant.kernels.activation import SIMULATED
from x2v_quant.kernels.machine import default_device, describe
from x2v_quant.kernels.reference import reference

DEVICE = default_device()
MACHINE = describe(DEVICE)
# (M, N, K): one row, no row, odd tails, wide, tall, whole blocks of 128
SHAPES = [(1, 16, 16), (0, 64, 128), (17, 33, 70), (33, 515, 64), (300, 48, 257), (64, 64, 128), (9, 320, 384)]
WIDEST = (40, 48, 4096)  # the group of formats that rotate so many channels, which no other shape holds
# one rounding to the output's dtype, relative to the largest output
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-10}
# fp8-tensor: clamps the outliers of `activations`
INPUT_SCALE = 0.1
# smoothed formats: powers of two, so that no kernel's x * pre_quant_scale is rounded
PRE_QUANT_SCALES = (1.0, 0.25, 2.0, 0.03125, 0.5)

CASES = [
    pytest.param(kernel, kernel.format, id=f"{kernel.name}-{kernel.format}-{i}")
    for i, kernel in enumerate(KERNELS)
    if kernel.requires.unmet(MACHINE, None) is None
]


def str_of(value):
    return value if isinstance(value, str) else value.name


@functools.cache
def layer(format_name, n, k):
    """Weight [n, k] and bias, which no test changes. Raises ValueError where the format cannot hold such a weight."""
    generator = torch.Generator().manual_seed(0)
    w = torch.randn((n, k), generator=generator) * torch.linspace(0.1, 2, n).view(-1, 1)
    extra = {"input_scale": torch.tensor([INPUT_SCALE])} if format_name == "fp8-tensor" else {}
    if FORMATS[format_name].smooth:
        extra = {"pre_quant_scale": torch.tensor(PRE_QUANT_SCALES).repeat(k)[:k]}
    tensor = FORMATS[format_name].quantize(w, torch.float32, **extra)
    return tensor.to(DEVICE), torch.randn(n, generator=generator).to(DEVICE)


def fits(kernel, format_name, n, k, dtype):
    """Whether the kernel runs here for such a weight, and the format can hold one."""
    if kernel.requires.unmet(MACHINE, (n, k), dtype) is not None:
        return False
    try:
        layer(format_name, n, k)
    except ValueError:
        return False
    return True


def shapes(kernel, format_name, dtype):
    """Those of SHAPES in which the kernel runs; where none has tokens, the widest."""
    fitting = [shape for shape in SHAPES if fits(kernel, format_name, *shape[1:], dtype)]
    if not any(m for m, _, _ in fitting) and fits(kernel, format_name, *WIDEST[1:], dtype):
        fitting.append(WIDEST)
    return fitting


def with_and_without_bias(kernel, format_name, dtype):
    """(m, n, k, whether there is a bias): the bias is added behind the product, so that it is left out once, of the
    last shape."""
    fitting = shapes(kernel, format_name, dtype)
    return [(*shape, True) for shape in fitting] + [(*shape, False) for shape in fitting[-1:]]


def that_fit(n, k):
    """Of CASES, in the dtype that a kernel is used with first."""
    return [case for case in CASES if fits(*case.values, n, k, usual_dtype(case.values[0]))]


def width(format_name, least):
    """Columns that the format can hold: `least`, or the group that it rotates, if that is wider."""
    return max(least, FORMATS[format_name].settings.get("convrot_groupsize", 1))


def usual_dtype(kernel):
    return (kernel.requires.dtypes or (torch.float32,))[0]


def activations(m, k, dtype):
    x = torch.randn((m, k), generator=torch.Generator().manual_seed(1))
    x[:, k // 2] *= 50  # an outlier channel
    if m > 2:
        x[2] = 0  # an all-zero token
    return x.to(dtype).to(DEVICE)


@pytest.mark.parametrize(
    "kernel,format_name,m,n,k,dtype,with_bias",
    [
        pytest.param(
            *case.values, m, n, k, dtype, bias, id=f"{case.id}-{m}-{n}-{k}-{dtype}-{'bias' if bias else 'no-bias'}"
        )
        for case in CASES
        for dtype in ROUNDING
        for m, n, k, bias in with_and_without_bias(*case.values, dtype)
    ],
)
def test_kernel_equals_reference(kernel, format_name, m, n, k, dtype, with_bias):
    weight, bias = layer(format_name, n, k)
    bias = bias if with_bias else None
    x = activations(m, k, dtype)
    y = kernel.linear(x, weight._qdata, weight._params, bias)
    assert y.shape == (m, n)
    assert y.dtype == dtype
    if m == 0:
        return
    expected = reference(x.float(), format_name, weight._qdata, weight._params, bias, kernel.activation)
    if kernel.name == "comfyui" and FORMATS[format_name].rotation:
        # it rotates by sums in another order: what is nearly halfway between two codes may become either, and a code is
        # 1/127 of a row's largest value
        assert (y.float() - expected).norm() <= 3e-3 * expected.norm()
        return
    # a dequantizing kernel multiplies weights rounded to the activation's dtype
    slack = 4 if kernel.activation == "float" or DEVICE.type == "cuda" else 1
    if FORMATS[format_name].smooth and FORMATS[format_name].settings:
        # the reference rotates back in float32, and what that rounds is divided by the factors: 1.2e-5 off float64
        slack = 4
    assert (y.float() - expected).abs().max() <= slack * ROUNDING[dtype] * expected.abs().max()


LARGE = [case for case in that_fit(2304, 1024) if case.values[0].name not in ("dequant", "reference")]


@pytest.mark.parametrize("kernel,format_name", LARGE)
def test_many_tokens_and_channels_take_several_passes(kernel, format_name):
    dtype = usual_dtype(kernel)
    weight, bias = layer(format_name, 2304, 1024)
    x = activations(2100, 1024, dtype)
    y = kernel.linear(x, weight._qdata, weight._params, bias)
    expected = reference(x.float(), format_name, weight._qdata, weight._params, bias, kernel.activation)
    assert (y.float() - expected).norm() <= 0.02 * expected.norm()


@pytest.mark.parametrize("kernel,format_name", that_fit(256, 128))
def test_kernel_takes_strided_activations(kernel, format_name):
    dtype = usual_dtype(kernel)
    weight, bias = layer(format_name, 256, 128)
    x = activations(128, 40, dtype).t()
    assert not x.is_contiguous()
    y = kernel.linear(x, weight._qdata, weight._params, bias)
    torch.testing.assert_close(y, kernel.linear(x.contiguous(), weight._qdata, weight._params, bias))


@pytest.mark.parametrize("kernel,format_name", [(k, k.format) for k in KERNELS], ids=str_of)
def test_no_tokens_give_no_rows(kernel, format_name):
    """On any machine: neither a GPU nor a library is asked."""
    k, dtype = width(format_name, 256), usual_dtype(kernel)
    weight, bias = layer(format_name, 128, k)
    y = kernel.linear(activations(0, k, dtype), weight._qdata, weight._params, bias)
    assert (y.shape, y.dtype) == ((0, 128), dtype)


BY_CHANNEL = ("fp8-channel", "int8-channel", "fp8-reduced")


@pytest.mark.parametrize("kernel,format_name", [case for case in that_fit(128, 64) if case.values[1] in BY_CHANNEL])
def test_kernel_takes_a_part_of_the_channels(kernel, format_name):
    dtype = usual_dtype(kernel)
    weight, bias = layer(format_name, 384, 64)
    params = type(weight._params)(weight._params.scale[128:256], torch.float32, (128, 64))
    x = activations(40, 64, dtype)
    y = kernel.linear(x, weight._qdata[128:256], params, bias[128:256])
    whole = kernel.linear(x, weight._qdata, weight._params, bias)
    torch.testing.assert_close(y, whole[:, 128:256])


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("activation", ["own", "float"])
def test_reference_is_what_it_says(format_name, activation):
    """The yardstick itself, against the product in float64; tests/kernels/test_activation.py has the activations."""
    k = width(format_name, 128)
    weight, bias = layer(format_name, 64, k)
    x = activations(5, k, torch.float32)
    activation = FORMATS[format_name].activation if activation == "own" else activation
    parts = FORMATS[format_name].parts(weight._qdata, weight._params)
    seen = SIMULATED[activation](x, dict(zip(FORMATS[format_name].tensors, parts, strict=True)))
    expected = seen.double() @ weight.dequantize().double().t() + bias.double()
    y = reference(x, format_name, weight._qdata, weight._params, bias, activation)
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-4)
    assert (activation == "float") == torch.equal(seen, x)


def test_int8_accumulates_exactly():
    """Extreme codes over a long K: nothing saturates, the product is exact in int32."""
    if "int8-channel" not in {name for _, name in (c.values for c in CASES if c.values[0].name == "torch")}:
        pytest.skip("torch int8 does not run on this machine")
    kernel = next(k for k, name in (c.values for c in CASES) if (k.name, name) == ("torch", "int8-channel"))
    x = torch.full((3, 4096), 1.0, device=DEVICE)
    weight = FORMATS["int8-channel"].quantize(torch.full((16, 4096), 127.0, device=DEVICE), torch.float32)
    assert torch.equal(weight._qdata, torch.full_like(weight._qdata, 127))
    y = kernel.linear(x, weight._qdata, weight._params, None)
    assert torch.equal(y, torch.full_like(y, 4096 * 127.0))


@pytest.mark.parametrize("kernel,format_name", CASES)
def test_ops_are_well_behaved(kernel, format_name):
    k = width(format_name, 256)
    weight, bias = layer(format_name, 128, k)
    x = activations(33, k, usual_dtype(kernel))
    with Recorded() as recorded:
        kernel.linear(x, weight._qdata, weight._params, bias)
    assert [function._schema.name for function, _ in recorded.calls] == ["x2v_quant::linear"]
    # opcheck compares inputs before and after, for which torch has no float8 arithmetic
    float8 = any(part.dtype.is_floating_point and part.dtype.itemsize == 1 for part in stored(weight))
    for call in recorded.calls:
        opcheck(*call, test_utils=("test_faketensor",) if float8 else ("test_schema", "test_faketensor"))


@pytest.mark.parametrize("kernel,format_name", [(k, k.format) for k in KERNELS], ids=str_of)
def test_every_kernel_can_be_traced_anywhere(kernel, format_name):
    """The fake implementations of all ops, those of libraries and GPUs that are not here among them."""
    k = width(format_name, 256)
    weight, bias = layer(format_name, 128, k)
    mode = FakeTensorMode()
    tensors = {n: mode.from_tensor(t) for n, t in zip(FORMATS[format_name].tensors, stored(weight), strict=True)}
    x = mode.from_tensor(activations(33, k, usual_dtype(kernel)))
    params = type(weight._params)(
        **{name: tensors[name] for name in FORMATS[format_name].tensors[1:]},
        orig_dtype=x.dtype,
        orig_shape=(128, k),
    )
    with mode:
        y = kernel.linear(x, tensors["codes"], params, mode.from_tensor(bias))
    assert (y.shape, y.dtype, y.device) == ((33, 128), x.dtype, x.device)


def stored(weight):
    return [weight._qdata, *(getattr(weight._params, name) for name in weight._params._tensor_fields())]
