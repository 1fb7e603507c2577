"""The linear layers that LightX2V quantizes, as data: model -> layer groups with their sizes.

Sources: Wan 2.1's config.json (dim, ffn_dim, num_layers), google/umt5-xxl (d_model, d_ff, num_heads x d_kv) and
open-clip's ViT-H-14 (width, mlp ratio 4, layers; q, k and v are one layer).
"""

from dataclasses import dataclass

from ..kernels.timing.kernels import VIDEO_TOKENS, WIDTHS_1_3B, WIDTHS_14B

PROMPT_TOKENS = 512
# 16 x 16 patches of an image and the class
IMAGE_TOKENS = 257


@dataclass(frozen=True)
class Layer:
    """Layers of one size in each block: `weights` of them, x [tokens, k] -> [tokens, n]. A CPU gets `cpu_tokens`."""

    group: str
    k: int
    n: int
    weights: int
    tokens: int
    cpu_tokens: int

    def rows(self, kind: str) -> int:
        """Tokens on a device of this kind."""
        return self.cpu_tokens if kind == "cpu" else self.tokens


@dataclass(frozen=True)
class Model:
    """`component`: "dit", "t5" or "clip". `heads` of the attention; `mlp` is the width between its two layers."""

    name: str
    component: str
    width: int
    mlp: int
    heads: int
    blocks: int
    layers: tuple[Layer, ...]

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Each size (N, K) of a weight once."""
        return tuple(dict.fromkeys((layer.n, layer.k) for layer in self.layers))


def _wan(name: str, width: int, mlp: int, heads: int, blocks: int, cpu_attention: int, cpu_rest: int) -> Model:
    prompt = min(PROMPT_TOKENS, cpu_rest // 2)
    layers = (
        Layer("attention q, k, v, o", width, width, 6, VIDEO_TOKENS, cpu_attention),
        Layer("cross-attention k, v", width, width, 2, PROMPT_TOKENS, prompt),
        Layer("ffn.0", width, mlp, 1, VIDEO_TOKENS, cpu_rest),
        Layer("ffn.2", mlp, width, 1, VIDEO_TOKENS, cpu_rest),
    )
    return Model(name, "dit", width, mlp, heads, blocks, layers)


def _encoder(name, component, width, mlp, heads, blocks, tokens, rows: tuple[tuple[str, int, int, int], ...]) -> Model:
    layers = tuple(Layer(group, k, n, weights, tokens, tokens) for group, k, n, weights in rows)
    return Model(name, component, width, mlp, heads, blocks, layers)


WAN_1_3B = _wan("Wan 1.3B", *WIDTHS_1_3B, 12, 30, cpu_attention=4096, cpu_rest=1024)
WAN_14B = _wan("Wan 14B", *WIDTHS_14B, 40, 40, cpu_attention=256, cpu_rest=256)
UMT5_XXL = _encoder(
    "umt5-xxl",
    "t5",
    *(4096, 10240, 64, 24),
    PROMPT_TOKENS,
    (("attn.q, k, v, o", 4096, 4096, 4), ("ffn.gate, fc1", 4096, 10240, 2), ("ffn.fc2", 10240, 4096, 1)),
)
CLIP_H = _encoder(
    "CLIP-H",
    "clip",
    *(1280, 5120, 16, 32),
    IMAGE_TOKENS,
    (
        ("attn.to_qkv", 1280, 3840, 1),
        ("attn.proj", 1280, 1280, 1),
        ("mlp.0", 1280, 5120, 1),
        ("mlp.2", 5120, 1280, 1),
    ),
)
MODELS = (WAN_1_3B, WAN_14B, UMT5_XXL, CLIP_H)
