"""Writes peers.safetensors: what other people's tools make of one small weight, and what they read it back as.

    python tests/data/record_peers.py

needs comfy-kitchen (0.2.40), autoawq (0.2.9), auto-gptq (0.7.1), compressed-tensors (0.20.1) and bitsandbytes (0.50.2);
the file here came out of those, on a CPU. Each case has the tensors of a layer as the tool saves them, and
"dequantized" [4, K], its first rows as the tool reads them. "float" is the weight, whose first rows are every case's.
The metadata has the tool and the layer's marker.
"""

import importlib.util
import json
import sys
import types
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save_file

TARGET = Path(__file__).with_suffix("").with_name("peers.safetensors")
# 16 rows, but for those whose codes of 32 are in one word or block
ROWS, MORE_ROWS, COLUMNS = 16, 32, 256
DRAWN = torch.randn((MORE_ROWS, COLUMNS), generator=torch.Generator().manual_seed(0))
READ_ROWS = 4
ALL = DRAWN * torch.logspace(-2, 0, MORE_ROWS).view(-1, 1)
WEIGHT = ALL[:ROWS]
ROTATED = {"convrot": True}


def kitchen(layout: str, options: dict, marker: dict):
    """What core's ModelSave writes of a layer: the layout's tensors and the marker."""
    import comfy_kitchen.tensor

    layout = getattr(comfy_kitchen.tensor, layout)
    weight = ALL if "MX" in layout.__name__ else WEIGHT
    codes, params = layout.quantize(weight, **options)
    tensors = {f"weight{end}": tensor for end, tensor in layout.state_dict_tensors(codes, params).items()}
    return tensors, layout.dequantize(codes, params), marker


def kitchen_zero_points():
    """comfy-kitchen's awq_w4a16 does not quantize: codes and scales are drawn, it says what they stand for."""
    import comfy_kitchen.tensor

    layout, generator = comfy_kitchen.tensor.TensorCoreAWQW4A16Layout, torch.Generator().manual_seed(1)
    codes = torch.randint(-128, 128, (ROWS, COLUMNS // 2), generator=generator, dtype=torch.int8)
    scale, zeros = (torch.rand((COLUMNS // 64, ROWS), generator=generator).bfloat16() / 16 for _ in range(2))
    params = layout.Params(
        scale=scale, zeros=zeros, orig_dtype=torch.float32, orig_shape=(ROWS, COLUMNS), group_size=64
    )
    tensors = {f"weight{end}": tensor for end, tensor in layout.state_dict_tensors(codes, params).items()}
    return tensors, layout.dequantize(codes, params), {"format": "awq_w4a16", "group_size": 64}


def groups(weight: torch.Tensor, group: int, symmetric: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales and zero points float32 [N, K / group] of 4-bit codes."""
    values = weight.unflatten(1, (-1, group))
    if symmetric:
        scale = values.abs().amax(dim=2) / 7
        return scale.half().float(), torch.full_like(scale, 8)
    least, largest = values.amin(dim=2), values.amax(dim=2)
    scale = ((largest - least) / 15).half().float()
    return scale, (-least / scale).round().clamp(0, 15)


def bare(*names: str) -> None:
    """Packages that import a transformers of their time, without what they import: what packs codes needs none."""
    for name in (name for name in names if name not in sys.modules):
        top, *inner = name.split(".")
        folder = Path(sys.modules[top].__path__[0]) if inner else Path(importlib.util.find_spec(top).origin).parent
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(folder.joinpath(*inner))]


def linear(weight: torch.Tensor) -> torch.nn.Linear:
    layer = torch.nn.Linear(COLUMNS, len(weight), bias=False)
    layer.weight.data.copy_(weight)
    return layer


def autoawq(group: int):
    bare("awq", "awq.modules", "awq.modules.linear")
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm

    scale, zeros = groups(ALL, group, symmetric=False)
    scale, zeros = scale.t().contiguous(), zeros.t().contiguous()
    made = WQLinear_GEMM.from_linear(linear(ALL), 4, group, scales=scale, zeros=zeros)
    read = dequantize_gemm(made.qweight, made.qzeros, made.scales, 4, group)
    return dict(made.named_buffers()), read.t(), None


def autogptq(group: int, symmetric: bool):
    bare("auto_gptq", "auto_gptq.nn_modules", "auto_gptq.nn_modules.qlinear")
    from auto_gptq.nn_modules.qlinear.qlinear_cuda_old import QuantLinear

    made = QuantLinear(4, group, COLUMNS, MORE_ROWS, bias=False)
    scale, zeros = groups(ALL, group, symmetric)
    made.pack(linear(ALL).half(), scale.half(), zeros, None)
    return dict(made.named_buffers()), made(torch.eye(COLUMNS).half()).t(), None


def compressed(kind: str, **options):
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam

    args = QuantizationArgs(**options)
    blocks = {"group": (1, args.group_size), "channel": (1, COLUMNS), "block": tuple(args.block_structure or ())}
    rows, columns = blocks.get(args.strategy, (1, args.group_size))
    values = WEIGHT.unflatten(0, (-1, min(rows, ROWS))).unflatten(2, (-1, columns))
    least, largest = values.amin(dim=(1, 3)), values.amax(dim=(1, 3))
    whole = generate_gparam(WEIGHT.min(), WEIGHT.max()) if args.strategy == "tensor_group" else None
    scale, zeros = calculate_qparams(least, largest, args, global_scale=whole)
    state = {"weight": WEIGHT, "weight_scale": scale, "weight_zero_point": zeros}
    state |= {} if whole is None else {"weight_global_scale": whole}
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    compressor = BaseCompressor.get_value_from_registry(kind)
    tensors = compressor.compress(state, scheme)
    return tensors, compressor.decompress(tensors, scheme)["weight"].float(), None


def bitsandbytes():
    import bitsandbytes

    made = bitsandbytes.nn.Linear8bitLt(COLUMNS, ROWS, bias=False, has_fp16_weights=False)
    made.weight = bitsandbytes.nn.Int8Params(WEIGHT.half(), requires_grad=False, has_fp16_weights=False)
    made(torch.zeros(1, COLUMNS, dtype=torch.float16))
    state = made.to("cpu").state_dict()
    read = bitsandbytes.functional.int8_vectorwise_dequant(state["weight"], state["SCB"])
    return state, read, None


def of_kitchen(name: str, layout: str, options=(), **marker):
    return lambda: kitchen(layout, dict(options), {"format": name, **marker})


INT8 = {"per_channel": True}
INT4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}
FLOAT4 = {"num_bits": 4, "type": "float"}
FLOAT8 = {"num_bits": 8, "type": "float"}
# package -> case -> what makes it
CASES = {
    "comfy-kitchen": {
        "fp8": of_kitchen("float8_e4m3fn", "TensorCoreFP8Layout", {"dtype": torch.float8_e4m3fn}),
        "fp8 e5m2": of_kitchen("float8_e5m2", "TensorCoreFP8Layout", {"dtype": torch.float8_e5m2}),
        "mxfp8": of_kitchen("mxfp8", "TensorCoreMXFP8Layout"),
        "nvfp4": of_kitchen("nvfp4", "TensorCoreNVFP4Layout"),
        "int8": of_kitchen("int8_tensorwise", "TensorWiseINT8Layout", INT8),
        "int8, one scale": of_kitchen("int8_tensorwise", "TensorWiseINT8Layout"),
        **{
            f"int8 convrot {group}": of_kitchen(
                "int8_tensorwise",
                "TensorWiseINT8Layout",
                {**INT8, **ROTATED, "convrot_groupsize": group},
                **ROTATED,
                convrot_groupsize=group,
            )
            for group in (256, 64, 16)
        },
        **{
            f"convrot_w4a4 {group}": of_kitchen(
                "convrot_w4a4",
                "TensorCoreConvRotW4A4Layout",
                {"convrot_groupsize": group},
                convrot_groupsize=group,
                linear_dtype="int4",
            )
            for group in (256, 64, 16)
        },
        "awq_w4a16": kitchen_zero_points,
    },
    "autoawq": {f"groups of {group}": lambda group=group: autoawq(group) for group in (128, 64, 32)},
    "auto-gptq": {
        "symmetric": lambda: autogptq(128, symmetric=True),
        "asymmetric": lambda: autogptq(128, symmetric=False),
        "asymmetric, groups of 64": lambda: autogptq(64, symmetric=False),
    },
    "compressed-tensors": {
        "int4": lambda: compressed("pack-quantized", **INT4, symmetric=True),
        "int4, zero points": lambda: compressed("pack-quantized", **INT4, symmetric=False),
        "int8": lambda: compressed("int-quantized", num_bits=8, type="int", strategy="channel"),
        "fp8": lambda: compressed("float-quantized", **FLOAT8, strategy="channel"),
        "fp8, blocks": lambda: compressed("float-quantized", **FLOAT8, strategy="block", block_structure=[128, 128]),
        "nvfp4": lambda: compressed("nvfp4-pack-quantized", **FLOAT4, strategy="tensor_group", group_size=16),
        "mxfp4": lambda: compressed("mxfp4-pack-quantized", **FLOAT4, strategy="group", group_size=32),
        "mxfp8": lambda: compressed("mxfp8-quantized", **FLOAT8, strategy="group", group_size=32),
    },
    "bitsandbytes": {"int8": bitsandbytes},
}


def record() -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    tensors, notes = {"float": ALL}, {}
    for package, cases in CASES.items():
        for name, make in cases.items():
            made, read, marker = make()
            case = f"{package}: {name}"
            tensors |= {f"{case}.{end}": tensor.detach().contiguous() for end, tensor in made.items()}
            tensors[f"{case}.dequantized"] = read[:READ_ROWS].detach().contiguous()
            notes[case] = json.dumps({"marker": marker, "made by": f"{package} {version(package)}"})
    return tensors, notes


if __name__ == "__main__":
    tensors, notes = record()
    save_file(tensors, TARGET, notes)
