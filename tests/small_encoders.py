"""Small text encoders built by core's own classes, with random weights, and files of them under any name.

Core's loaders build an encoder in its full size, whatever the file holds: a small one is loaded by `load`, which hands
core's own classes a configuration. tests/server/small_pack has that as nodes in place of CLIPLoader and DualCLIPLoader.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

HIDDEN = 256  # what the models of family_files take as the width of a context
SEED = 5
DRAWN = 4096  # rows of a tensor that have numbers of their own

LLAMA = {"hidden_size": HIDDEN, "intermediate_size": 256, "num_attention_heads": 2, "num_key_value_heads": 1}
# one file serves all encoders that are made of the same model
QWEN_25 = {**LLAMA, "num_hidden_layers": 4}
QWEN_3 = {**LLAMA, "num_hidden_layers": 28}
T5 = {"d_model": HIDDEN, "d_ff": 256, "d_kv": 64, "num_heads": 4, "num_layers": 2}
CLIP_L = {"num_hidden_layers": 2, "hidden_size": 768, "intermediate_size": 256, "num_attention_heads": 4}
BYT5 = {"d_ff": 64, "d_kv": 16, "num_heads": 2, "num_layers": 2}


@dataclass(frozen=True)
class Encoder:
    """`module`, `te`, `tokenizer`: core's text encoder; `te` makes its class. `arguments`: of `te`. `configs`: what
    core calls a part of it -> the sizes that are not core's; "" is the part that core gives no name."""

    module: str
    te: str
    tokenizer: str
    configs: dict[str, dict]
    arguments: tuple = ()


# what CLIPLoader and DualCLIPLoader call it -> the encoder; a new one is a row
ENCODERS = {
    "qwen_image": Encoder("comfy.text_encoders.qwen_image", "te", "QwenImageTokenizer", {"qwen25_7b": QWEN_25}),
    "lumina2": Encoder("comfy.text_encoders.z_image", "te", "ZImageTokenizer", {"qwen3_4b": QWEN_3}),  # Z-Image
    "flux": Encoder("comfy.text_encoders.flux", "flux_clip", "FluxTokenizer", {"clip_l": CLIP_L, "t5xxl": T5}),
    # Flux.2 klein puts the outputs of layers 9, 18 and 27 side by side: a context of 3 * HIDDEN
    "flux2": Encoder("comfy.text_encoders.flux", "klein_te", "KleinTokenizer", {"qwen3_4b": QWEN_3}),
    "hunyuan_video_15": Encoder(
        "comfy.text_encoders.hunyuan_image",
        "te",
        "HunyuanImageTokenizer",
        {"qwen25_7b": QWEN_25, "": BYT5},
    ),
}


def model(name: str, device: str = "cpu") -> torch.nn.Module:
    """Core's text encoder of that name in ENCODERS, with weights that nobody has set."""
    import comfy.sd  # noqa: F401 - core's encoders use modules that it imports

    encoder = ENCODERS[name]
    build = getattr(importlib.import_module(encoder.module), encoder.te)(*encoder.arguments)
    return build(device=device, dtype=torch.float32, model_options=options(name))


def options(name: str) -> dict:
    return {f"{part}_model_config": dict(sizes) for part, sizes in ENCODERS[name].configs.items()}


def write(path: Path, name: str, part: str = "") -> None:
    """A file of that encoder with random weights in bfloat16, about 80 MB for a vocabulary of 152,000 words.

    part: one of its `configs`, for encoders of two files; "" is all of it. What reads pictures is left out, and so are
    its 600 million weights.
    """
    generator = torch.Generator().manual_seed(SEED)
    tensors = {}
    for key, empty in model(name, "meta").state_dict().items():
        if ".visual." in key or key.endswith("logit_scale") or not key.startswith(part):
            continue
        scale = 0.02 if empty.ndim < 2 or "embed" in key or "shared" in key else empty.shape[-1] ** -0.5
        values = torch.empty(empty.shape, dtype=torch.bfloat16)
        drawn = torch.randn(min(len(values), DRAWN), *empty.shape[1:], generator=generator) * scale
        for rows in values.split(
            DRAWN
        ):  # the words of a vocabulary share their vectors with others: 40 million numbers
            rows.copy_(drawn[: len(rows)])
        tensors[key] = 1 + values if "norm" in key and key.endswith("weight") else values
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)


def load(paths: Sequence[str | Path], name: str):
    """The files of `write` that make up an encoder, as core's CLIP."""
    import comfy.sd

    encoder = ENCODERS[name]
    module = importlib.import_module(encoder.module)

    class Target:
        clip = getattr(module, encoder.te)(*encoder.arguments)
        tokenizer = getattr(module, encoder.tokenizer)
        params = {}  # noqa: RUF012 - core's CLIP reads it as an attribute and copies it

    clip = comfy.sd.CLIP(Target, model_options={**options(name), "dtype": torch.float32})
    tensors = {key: tensor for path in paths for key, tensor in load_file(path).items()}
    missing, unexpected = clip.cond_stage_model.load_state_dict(tensors, strict=False)
    assert not unexpected, unexpected
    assert all(".visual." in key or key.endswith("logit_scale") for key in missing), missing
    return clip
