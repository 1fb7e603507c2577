"""Infers the arguments of core's constructors from the shapes of a model's weights.

All functions raise CheckpointError for a missing tensor and for shapes that no model has.
"""

import itertools

import torch

from .common import buildable, wanted
from .config import TEXT, WAN_TEXT_DIM

# ViT-H/14 has heads of 80 channels; other sizes use the usual 64
HEAD_DIM = {1280: 80}
USUAL_HEAD_DIM = 64
WAN_HEAD_DIM = 128

PROJECTION = "visual_projection.weight"

Weights = dict[str, torch.Tensor]


def wan_sizes(sd: Weights, file: str) -> dict:
    """The arguments of core's WanModel (text or image to video), as core's own detection infers them."""
    with buildable(file):
        width = wanted(sd, "head.modulation", file).shape[-1]
        text = sd.get(f"{TEXT}.weight")
        blocks = {key.split(".")[1] for key in sd if key.startswith("blocks.")}
        sizes = {
            "model_type": "i2v" if "img_emb.proj.0.bias" in sd else "t2v",
            "dim": width,
            "num_heads": width // WAN_HEAD_DIM,
            "out_dim": wanted(sd, "head.head.weight", file).shape[0] // 4,
            "ffn_dim": wanted(sd, "blocks.0.ffn.0.weight", file).shape[0],
            "num_layers": next(number for number in itertools.count() if str(number) not in blocks),
            "in_dim": wanted(sd, "patch_embedding.weight", file).shape[1],
            "text_dim": text.shape[1] if text is not None and text.ndim == 2 else WAN_TEXT_DIM,
        }
        beside = {"flf_pos_embed_token_number": "img_emb.emb_pos", "in_dim_ref_conv": "ref_conv.weight"}
        return sizes | {size: sd[name].shape[1] for size, name in beside.items() if name in sd}


def t5_sizes(sd: Weights, file: str) -> dict[str, int]:
    """The fields of core's umt5 configuration that follow from the shapes."""
    block = "encoder.block.0.layer"
    with buildable(file):
        vocab_size, d_model = wanted(sd, "shared.weight", file).shape
        heads = wanted(sd, f"{block}.0.SelfAttention.relative_attention_bias.weight", file).shape[1]
        return {
            "vocab_size": vocab_size,
            "d_model": d_model,
            "num_heads": heads,
            "d_kv": wanted(sd, f"{block}.0.SelfAttention.q.weight", file).shape[0] // heads,
            "d_ff": wanted(sd, f"{block}.1.DenseReluDense.wi_0.weight", file).shape[0],
            "num_layers": 1 + max(int(key.split(".")[2]) for key in sd if key.startswith("encoder.block.")),
        }


def clip_vision_sizes(sd: Weights, file: str) -> dict:
    """Core's configuration of a CLIP vision encoder, with CLIP's image statistics."""
    prefix = "vision_model."
    with buildable(file):
        hidden, _, patch_size, _ = wanted(sd, f"{prefix}embeddings.patch_embedding.weight", file).shape
        patches = wanted(sd, f"{prefix}embeddings.position_embedding.weight", file).shape[0] - 1
        return {
            "model_type": "clip_vision_model",
            "hidden_act": "gelu",
            "hidden_size": hidden,
            "image_size": round(patches**0.5) * patch_size,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "intermediate_size": wanted(sd, f"{prefix}encoder.layers.0.mlp.fc1.weight", file).shape[0],
            "num_attention_heads": max(1, hidden // HEAD_DIM.get(hidden, USUAL_HEAD_DIM)),
            "num_channels": 3,
            "num_hidden_layers": 1
            + max(int(key.split(".")[3]) for key in sd if key.startswith(f"{prefix}encoder.layers.")),
            "patch_size": patch_size,
            **({"projection_dim": sd[PROJECTION].shape[0]} if PROJECTION in sd else {}),
        }
