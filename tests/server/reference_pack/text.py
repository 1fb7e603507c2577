"""A conditioning of any width, for models whose text encoder core builds in its full size only."""

import zlib

import torch
from comfy_api.latest import io

TOKENS = 8


class ReferenceText(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ReferenceText",
            inputs=[io.String.Input("text"), io.Int.Input("width", default=256)],
            outputs=[io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, text, width):
        """Normally distributed, TOKENS tokens; the same for the same text."""
        generator = torch.Generator().manual_seed(zlib.crc32(text.encode()))
        return io.NodeOutput([[torch.randn((1, TOKENS, width), generator=generator), {}]])
