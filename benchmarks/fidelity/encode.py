"""Run as a module in a fresh interpreter: prompts through one text encoder, once for all contestants that use it."""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from ...core.on_path import use_comfyui
from ...demo import recipe
from .job import NEGATIVE, prompt


def main(kind: str, file: str, captions: str, out: str) -> None:
    """kind: "bf16" for core's own encoder with the original weights, else ours; captions: a JSON list; out: the file
    of tensors [1, tokens, width]."""
    use_comfyui()
    from .text import load_text_encoder

    with torch.inference_mode():
        clip = load_text_encoder(kind, Path(file))
        prompts = {NEGATIVE: recipe.NEGATIVE} | {prompt(caption): caption for caption in json.loads(captions)}
        encoded = {name: clip.encode_from_tokens(clip.tokenize(text)) for name, text in prompts.items()}
    save_file({name: tensor.cpu().contiguous() for name, tensor in encoded.items()}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
