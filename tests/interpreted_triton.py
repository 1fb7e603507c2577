"""Our Triton kernels in Triton's interpreter: a script that computes every case and saves what came out.

It is a process of its own, because the interpreter has to be chosen before a kernel is defined.

What the interpreter gets wrong is kept out: it cannot multiply bfloat16, and it rounds to bfloat16 and to e4m3 wrongly,
so outputs are float32 or float16 and activations that become e4m3 are e4m3 numbers times a power of two already.
"""

import sys
import traceback

import interpreted_dot_scaled
import interpreted_xor_sum
import torch
from recorded import Recorded
from torch.library import opcheck

from x2v_quant.formats import FORMATS, ROTATED
from x2v_quant.formats.fp8_block128 import BLOCK
from x2v_quant.formats.fp8_reduced import Fp8ReducedLayout
from x2v_quant.formats.lloyd_max import GAUSSIAN
from x2v_quant.formats.mx import BLOCK as MX_BLOCK
from x2v_quant.formats.mx import Mxfp6Layout
from x2v_quant.kernels import triton as rows
from x2v_quant.kernels.activation import FP8_MAX, FP8_REDUCED_MAX
from x2v_quant.kernels.ops import mx_like

HALF, SINGLE = torch.float16, torch.float32
EVERY = {f"{row.name} {row.format} {row.activation}": row for row in rows.ROWS}
LINEARS = {name: row for name, row in EVERY.items() if not FORMATS[row.format].smooth}
WEIGHT_ONLY = [name for name, row in LINEARS.items() if row.activation == "float"]
SMOOTHED_LINEARS = {name: row for name, row in EVERY.items() if name not in LINEARS}
# (M, N, K): one of everything, no multiple of anything, several tiles, the widest tiles with tails
SHAPES = [(1, 16, 32), (37, 20, 70), (70, 257, 130), (33, 130, 300), (65, 128, 384), (1030, 34, 66)]
QUANTIZED = ("int8", "fp8", "fp8-reduced")
LARGEST = {"int8": 127.0, "fp8": FP8_MAX, "fp8-reduced": FP8_REDUCED_MAX, "fp8-group128": FP8_MAX, "mxfp8": FP8_MAX}
# in place of those of SHAPES that groups do not divide, whole groups
GROUPED = [(1, 16, 128), (37, 20, 256), (70, 257, 384), (1030, 34, 128)]
# activation -> channels that share a scale, where those are not all
GROUPS = {"fp8-group128": BLOCK, "mxfp8": MX_BLOCK}
# rounded by bit operations, which the interpreter gets right
ANY_VALUE = ("float", "mxfp4")
# several rows in a program, one, the longest that stays in registers, longer ones
WIDTHS = [(130, 20), (5, 1100), (2, 13824), (2, 16385)]
# (M, K, channels that are rotated together): every group, and the widths above
ROTATIONS = [
    (130, 20, 4),
    (5, 48, 16),
    (5, 1088, 64),
    (2, 13824, 256),
    (2, 16640, 256),
    (3, 3072, 1024),
    (2, 4096, 4096),
]


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def activations(m, k, activation, dtype):
    """Random tokens with an outlier channel and a zero token, on the grid of `activation` if that is e4m3."""
    x = random(m, k)
    x[:, k // 3] *= 20
    if m > 2:
        x[2] = 0
    if activation not in ANY_VALUE and not activation.startswith("int8"):
        largest = LARGEST[activation]
        x = (x * 4).clamp(-largest, largest).to(torch.float8_e4m3fn).float()
        # every scale is a power of two, so codes are exact
        x[:, :: GROUPS.get(activation, k)] = largest
        x *= 2.0 ** torch.randint(-3, 3, (m, 1), generator=torch.Generator().manual_seed(1))
    return x.to(dtype)


def group(row):
    """The input channels that share a scale or a rotation, of a format that has whole groups only, else 1."""
    stored = FORMATS[row.format]
    return max(stored.rotation, stored.settings.get("group_size", MX_BLOCK if stored.multiples[1] == MX_BLOCK else 1))


def whole(row, k):
    """`k`, or the next that groups of the row divide."""
    return -(-k // group(row)) * group(row)


def shapes_of(row):
    """Rotated int8 has the products of int8: two shapes tell whether they get what the rotation has made."""
    few = 2 if row.format in ROTATED.values() else None
    return (SHAPES if group(row) <= MX_BLOCK else GROUPED)[:few]


def linear_inputs(name, m, n, k, dtype):
    row = LINEARS[name]
    k = whole(row, k)
    weight = FORMATS[row.format].quantize(random(n, k, seed=2) * torch.linspace(0.1, 2, n).view(-1, 1), dtype)
    return row, activations(m, k, row.activation, dtype), weight, random(n, seed=3)


def linear(name, m, n, k, dtype, bias_dtype):
    row, x, weight, bias = linear_inputs(name, m, n, k, dtype)
    bias = None if bias_dtype is None else bias.to(bias_dtype)
    return row.linear(x, weight._qdata, weight._params, bias)


def quantizer_input(m, k, activation, dtype):
    x = activations(m, k, activation, dtype)
    x[0] = 0
    return x


def quantize(activation, m, k, dtype, smooth):
    x = quantizer_input(m, k, activation, dtype)
    return quantize_tokens(x, activation, factors(k) if smooth else None)


def rotate(m, k, group, dtype, smooth):
    x = quantizer_input(m, k, "int8", dtype)
    return quantize_tokens(x, "int8", factors(k) if smooth else None, group)


def rotate_alone(m, k, group):
    return rows.TRITON.loaded().rotated(random(m, k).to(HALF), group)


def quantize_tokens(*args):
    return rows.TRITON.loaded().quantize_tokens(*args)


def factors(k):
    """Powers of two: the product is exact, so that codes can be compared."""
    return 2.0 ** torch.randint(-2, 3, (k,), generator=torch.Generator().manual_seed(5))


def quantize_groups(m, k):
    return rows.TRITON.loaded().quantize_token_groups(quantizer_input(m, k, "fp8-group128", SINGLE))


def quantize_blocks(m, k, activation, dtype):
    x = quantizer_input(m, k, activation, dtype)
    codes, scale = mx_like(x, int(activation[-1]))
    rows.TRITON.loaded().quantize_blocks(x, codes, scale, activation)
    return codes, scale


def ties():
    return quantize_tokens(torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5]]), "int8")


def hostile(activation):
    """Rows at the ends of float32 and rows whose scale is rounded."""
    x = torch.stack([random(64) * scale for scale in (1e-38, 1e-30, 1e-3, 1.0, 3e37)])
    return quantize_tokens(x, activation)


def smoothed(name):
    row, x, weight, bias = smoothed_inputs(name)
    return row.linear(x, weight._qdata, weight._params, bias)


def smoothed_inputs(name):
    row = SMOOTHED_LINEARS[name]
    dtype = HALF if row.activation == "float" else SINGLE
    k = whole(row, 130)
    x = activations(9, k, row.activation.removesuffix("-smooth"), dtype)
    weight = FORMATS[row.format].quantize(random(20, k, seed=2), dtype, pre_quant_scale=factors(k))
    return row, x, weight, random(20, seed=3)


def strided(name, transposed):
    row, x, weight, bias = linear_inputs(name, 9, 24, 130, row_dtype(name))
    wide = x.t().contiguous().t() if transposed else torch.cat([x, x], dim=1)[:, : x.shape[1]]
    assert not wide.is_contiguous()
    return row.linear(wide, weight._qdata, weight._params, bias)


def worst_sums():
    """The largest codes that fp8-reduced allows, all of one sign."""
    x = torch.full((3, 256), FP8_REDUCED_MAX)
    codes = torch.full((20, 256), Fp8ReducedLayout.MAX).to(torch.float8_e4m3fn)
    return computed("triton-f16 fp8-reduced", x, codes, torch.ones(20, 1))


def spread_out(n, k):
    """The levels of random codes, in every scale that e4m3 has."""
    from x2v_quant.kernels import triton_w4a8

    return triton_w4a8.levels(*w4a8_tensors(n, k))


def w4a8_tensors(n, k):
    """codes and scale as bytes, codebook."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 256, (n, k // 2), dtype=torch.uint8, generator=generator)
    scale = (torch.arange(n * k // 16) % 0x7F).to(torch.uint8).view(n, k // 16)
    return codes, scale, torch.tensor(GAUSSIAN)


def every_code():
    return computed("triton fp8-channel #2", torch.eye(256, dtype=HALF), all_e4m3(), torch.ones(8, 1))


def every_code_of_six_bits():
    """Codes 0 ... 63 of every row, in order."""
    codes = Mxfp6Layout.pack(torch.arange(64, dtype=torch.uint8).repeat(8, 1))
    weight = [codes, torch.full((8, 2), 127, dtype=torch.uint8)]
    return torch.ops.x2v_quant.linear(torch.eye(64), weight, (8, 64), None, "triton mxfp6")


def computed(kernel, x, codes, scale):
    return torch.ops.x2v_quant.linear(x, [codes, scale], codes.shape, None, kernel)


def all_e4m3():
    codes = torch.arange(256, dtype=torch.uint8)
    codes[(codes & 0x7F) == 0x7F] = 0  # NaN
    return codes.repeat(8, 1).view(torch.float8_e4m3fn)


def checked(name):
    """torch's own checks of the op: schema, fake, aliasing; and a graph without breaks."""
    row, x, weight, bias = linear_inputs(name, 5, 16, 128, row_dtype(name))
    with Recorded() as recorded:
        eager = row.linear(x, weight._qdata, weight._params, bias)
    ((op, args),) = recorded.calls
    checks = ["test_faketensor", "test_autograd_registration"]
    parts = FORMATS[row.format].parts(weight._qdata, weight._params)
    if all(part.dtype != torch.float8_e4m3fn for part in parts):  # torch compares no float8 with itself
        checks.append("test_schema")
    opcheck(op, args, test_utils=checks)
    torch._dynamo.reset()  # the one lambda here is compiled for every kernel
    compiled = torch.compile(lambda x: op(x, *args[1:]) + 1, fullgraph=True, backend="eager")
    return compiled(x) - 1, eager


def row_dtype(name):
    return HALF if name in WEIGHT_ONLY else SINGLE


CASES = {}
for _name in LINEARS:
    for _m, _n, _k in shapes_of(LINEARS[_name]):
        for _dtype in (HALF,) if _name in WEIGHT_ONLY else (HALF, SINGLE):
            for _bias in (None, SINGLE, torch.bfloat16) if (_m, _dtype) == (37, HALF) else (SINGLE,):
                CASES["linear", _name, _m, _n, _k, _dtype, _bias] = linear
    CASES["strided", _name, True] = CASES["strided", _name, False] = strided
    CASES["checked", _name] = checked
for _activation in QUANTIZED:
    for _m, _k in WIDTHS:
        for _dtype, _smooth in ((SINGLE, False), (SINGLE, True), (HALF, False)):
            CASES["quantize", _activation, _m, _k, _dtype, _smooth] = quantize
    CASES["hostile", _activation] = hostile
for _m, _k, _group in ROTATIONS if ROTATED else ():
    for _dtype, _smooth in ((SINGLE, False), (SINGLE, True), (HALF, True)):
        CASES["rotate", _m, _k, _group, _dtype, _smooth] = rotate
# fewer values than one program takes, as many, and more
for _m, _k, _group in ((37, 4, 4), (16, 256, 256), (3, 1536, 64), (5, 1280, 16)):
    CASES["rotate alone", _m, _k, _group] = rotate_alone
CASES.update({("smoothed", name): smoothed for name in SMOOTHED_LINEARS})
CASES.update({("spread out", n, k): spread_out for n, k in ((1, 16), (3, 80), (40, 512))})
CASES.update({("groups", m, k): quantize_groups for m, k in ((3, 130), (2, 5120), (2, 20))})
for _activation in ("mxfp4", "mxfp8"):
    for _m, _k in ((3, 160), (40, 1536)):
        CASES["blocks", _m, _k, _activation, SINGLE] = CASES["blocks", _m, _k, _activation, HALF] = quantize_blocks
CASES[("every code of six bits",)] = every_code_of_six_bits
CASES.update({("ties",): ties, ("worst",): worst_sums, ("every code",): every_code})


def compute(path):
    results = {}
    for key, case in CASES.items():
        try:
            results[key] = case(*key[1:])
        except Exception:
            results[key] = traceback.format_exc()
    torch.save(results, path)


if __name__ == "__main__":
    interpreted_dot_scaled.add()
    interpreted_xor_sum.add()
    compute(sys.argv[1])
