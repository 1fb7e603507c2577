"""The text encoder while it is trained: umt5 on the tensors as LightX2V names them, and its tokenizer."""

import random

import sentencepiece
import torch
from comfy.text_encoders.t5 import T5Attention

from ...demo.scenes import SCENES
from ..encoders import BUCKETS, HEADS, PAD, tokenizer, umt5
from .named import Named, heads_apart

WIDTH, FFN, BLOCKS = 128, 256, 2
VOCABULARY = 160  # at most: the captions' words whole, other words in pieces
FILLER = ("small", "large", "bright", "dark", "slowly", "quickly", "the", "on", "over", "background", "video", "of")
SENTENCES = 4000


def spiece_model(seed: int) -> bytes:
    """A sentencepiece model with umt5's special ids that knows the captions word by word."""
    pick = random.Random(seed)
    captions = [caption for scene in SCENES for caption in scene.captions]
    # words between the captions keep the alphabet whole and leave something to be pieced together
    corpus = (f"{pick.choice(captions)} {pick.choice(FILLER)} {pick.choice(FILLER)}" for _ in range(SENTENCES))
    # the default rules of normalization fill a quarter of a megabyte
    return tokenizer(corpus, VOCABULARY, model_type="bpe", normalization_rule_name="identity")


class Text(Named):
    """umt5. `tokens` and `forward` together are what core's CLIPTextEncode does, without the padding."""

    def __init__(self, seed: int, spiece: bytes):
        self.spiece = spiece
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=spiece, add_eos=True)
        super().__init__(umt5(seed, self.processor.get_piece_size(), WIDTH, FFN, BLOCKS))

    def __deepcopy__(self, memo):
        # the processor cannot be copied
        copy = Text(0, self.spiece)
        copy.load_state_dict(self.state_dict())
        return copy

    def tokens(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids [B, L], which of them are text [B, L])."""
        found = [self.processor.encode(text) for text in texts]
        longest = max(map(len, found))
        ids = torch.tensor([ids + [PAD] * (longest - len(ids)) for ids in found])
        return ids, torch.tensor([[i < len(row) for i in range(longest)] for row in found])

    def forward(self, ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """-> [B, L, WIDTH], zero where `real` is not."""
        x = self["token_embedding.weight"][ids]
        positions = torch.arange(ids.shape[1], device=ids.device)
        buckets = T5Attention._relative_position_bucket(positions - positions[:, None], num_buckets=BUCKETS)
        hidden = torch.zeros(real.shape, device=x.device).masked_fill(~real, -1e9)[:, None, None]
        for index in range(self.count("blocks.")):
            block = f"blocks.{index}"
            bias = self[f"{block}.pos_embedding.embedding.weight"][buckets].permute(2, 0, 1)
            y = self.rms_norm(f"{block}.norm1", x)
            q, k, v = (heads_apart(self.linear(f"{block}.attn.{name}", y), HEADS) for name in "qkv")
            weights = (q @ k.transpose(-1, -2) + bias + hidden).softmax(-1)
            x = x + self.linear(f"{block}.attn.o", (weights @ v).transpose(1, 2).flatten(2))
            y = self.rms_norm(f"{block}.norm2", x)
            gate = torch.nn.functional.gelu(self.linear(f"{block}.ffn.gate.0", y), approximate="tanh")
            x = x + self.linear(f"{block}.ffn.fc2", gate * self.linear(f"{block}.ffn.fc1", y))
        return self.rms_norm("norm", x) * real[..., None]
