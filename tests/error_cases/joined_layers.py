"""Layers that ComfyUI has in one, whose pieces do not go together; and one layer that is no whole number of others."""

import torch

from .case import ErrorCase, file
from .quantized_layers import DAMAGED
from .wan import made, zeros

K = 256
PIECES = [f"noise_refiner.0.attention.to_{one}" for one in "qkv"]
JOINED = "noise_refiner.0.attention.qkv"
# with the pieces it makes a file one of Z-Image's
SIGN = {"all_final_layer.2-1.linear.bias": torch.zeros(3)}
OTHER = "Get the model as int8 or fp8 with a scale per channel."
NAMING = "The file mixes two ways of naming: download it again."
ONE = f"ComfyUI has both in one layer, {JOINED}"
FUSED = "visual.transformer.0.attn.to_qkv"
ENCODER = {"token_embedding.weight": torch.zeros(8, 8), "blocks.0.pos_embedding.embedding.weight": torch.zeros(8, 2)}
FLUX = {
    "single_transformer_blocks.0.norm.linear.bias": torch.zeros(3),
    "transformer_blocks.0.attn.add_q_proj.bias": torch.zeros(3),
    "x_embedder.weight": torch.zeros(3, 3),
}


def pieces(name: str, cause: str, remedy: str, kind: str = "int8", **change) -> ErrorCase:
    """A Z-Image; change: the tensors of q, k, v or, as `joined`, of all three by what their names end in."""
    names = dict(zip("qkv", PIECES, strict=True)) | {"joined": JOINED}
    held = {**{one: made(kind, K, K) for one in "qkv"}, **change}
    tensors = {f"{names[one]}.{end}": part for one, parts in held.items() for end, part in parts.items()}
    return file({**SIGN, **tensors}, f"model.safetensors: {name} {cause}. {remedy}")


def vision(cause: str, remedy: str, key: str = f"{FUSED}.weight", **change) -> ErrorCase:
    """A CLIP with q, k and v in one layer; change: by what its names end in."""
    parts = {**made("int8", 96, 128), "bias": torch.zeros(96), **change}
    tensors = {"visual.head": torch.zeros(8, 8), **{f"{FUSED}.{end}": part for end, part in parts.items()}}
    return file(tensors, f"model.pth: {key} {cause}. {remedy}", name="model.pth", loader="X2VLoadCLIPVision")


SCALED = {**made("nvfp4", K, K), "weight_global_scale": torch.tensor(3.0)}
CASES = {
    "missing": pieces(
        f"{JOINED}.weight",
        f"is made of 3 tensors, of which only {PIECES[0]}.weight, {PIECES[1]}.weight are there",
        "The file is incomplete: download it again.",
        v={},
    ),
    "plain": pieces(
        f"{PIECES[1]}.weight",
        f"is not quantized, {PIECES[0]} is int8-channel: {ONE}",
        OTHER,
        k={"weight": torch.zeros(K, K)},
    ),
    "format": pieces(
        f"{PIECES[2]}.weight",
        f"is fp8-channel, {PIECES[0]} is int8-channel: {ONE}",
        OTHER,
        v=made("fp8", K, K),
    ),
    "width": pieces(
        f"{PIECES[1]}.weight",
        f"has 512 input channels, {PIECES[0]} has {K}: {ONE}",
        DAMAGED,
        k=made("int8", K, 2 * K),
    ),
    "twice": pieces(
        f"{PIECES[0]}.weight",
        f"and {JOINED}.weight are both {JOINED}.weight in ComfyUI's model",
        NAMING,
        joined=made("int8", 3 * K, K),
    ),
    "blocks": pieces(
        f"{PIECES[0]}.weight",
        f"has 64 fp8-block128 rows, which is not a multiple of 128: ComfyUI joins them with others in {JOINED}",
        OTHER,
        "block128",
        **{one: made("block128", 64, K) for one in "qkv"},
    ),
    "scale": pieces(
        f"{PIECES[1]}.weight",
        f"has another scale than {PIECES[0]}, and {ONE}",
        OTHER,
        "nvfp4",
        k=SCALED,
    ),
    "thirds": vision(
        "has 97 int8-channel rows, which do not make 3 layers",
        "The file is damaged: download it again.",
        **made("int8", 97, 128),
        bias=torch.zeros(96),
    ),
    "thirds of blocks": vision(
        "has 192 fp8-block128 rows, which do not make 3 layers of a multiple of 128",
        "Get the model in another format.",
        **made("block128", 192, 128),
    ),
    "bias": vision(
        "has shape [97], whose rows do not make 3 layers",
        "The file is damaged: download it again.",
        key=f"{FUSED}.bias",
        bias=torch.zeros(97),
    ),
    "two names": file(
        {**ENCODER, "shared.weight": torch.zeros(8, 8)},
        f"model.pth: shared.weight is the same tensor as token_embedding.weight. {NAMING}",
        name="model.pth",
        loader="X2VLoadT5",
    ),
    "embedding": file(
        {
            **ENCODER,
            "token_embedding.weight": zeros(8, 8, dtype=torch.uint8),
            "token_embedding.weight_scale": torch.ones(8, 1),
        },
        "model.pth: token_embedding.weight is a quantized embedding. Get the model with its embedding unquantized.",
        name="model.pth",
        loader="X2VLoadT5",
    ),
    "halves": file(
        {**FLUX, **{f"norm_out.linear.{end}": part for end, part in made("int8", 7, K).items()}},
        f"model.safetensors: norm_out.linear.weight has 7 rows, which do not make 2 equal parts. {DAMAGED}",
    ),
}
