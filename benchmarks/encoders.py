"""Weights of the two small encoders beside Wan, in the original key names, and the tokenizer of the text encoder."""

import io
import random
from collections.abc import Iterable

import sentencepiece

from ..demo.trained import Tensors
from ..demo.widen import IMAGE_FEATURES
from .wan import Weights

# The tokenizer learns from invented sentences: every word a prompt of the demo may use.
SIZES = ("small", "large", "tiny", "round", "bright", "dark")
COLOURS = ("red", "green", "blue", "yellow", "white", "orange", "purple")
THINGS = ("ball", "fox", "boat", "lamp", "leaf", "cloud", "train", "cat", "river", "kite")
VERBS = ("drifts", "runs", "turns", "glows", "falls", "rises", "waits", "jumps")
PLACES = ("over the sea", "in the rain", "under a tree", "on the snow", "at night", "through the city")
SENTENCES = 2000
LARGEST_VOCABULARY = 256
PAD, END, UNKNOWN = 0, 1, 2  # umt5's ids

HEADS = 4
BUCKETS = 32  # relative positions of T5

CLIP_HEAD = 1024
CLIP_POSITIONS = 257  # 16 x 16 patches of a 224 x 224 image, and the class


def spiece_model(seed: int) -> bytes:
    """A sentencepiece model with umt5's special ids, trained in a second."""
    pick = random.Random(seed).choice
    corpus = (
        f"a {pick(SIZES)} {pick(COLOURS)} {pick(THINGS)} {pick(VERBS)} {pick(PLACES)} and {pick(VERBS)} {pick(PLACES)}"
        for _ in range(SENTENCES)
    )
    return tokenizer(corpus, LARGEST_VOCABULARY)


def tokenizer(sentences: Iterable[str], vocabulary: int, **more) -> bytes:
    """A sentencepiece model with umt5's special ids and at most `vocabulary` pieces. more: of SentencePieceTrainer."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=vocabulary,
        hard_vocab_limit=False,
        pad_id=PAD,
        eos_id=END,
        unk_id=UNKNOWN,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
        **more,
    )
    return model.getvalue()


def pieces(spiece: bytes) -> int:
    """How many ids a sentencepiece model gives out: the rows of the embedding that goes with it."""
    return sentencepiece.SentencePieceProcessor(model_proto=spiece).get_piece_size()


def umt5(seed: int, vocabulary: int, width: int, ffn: int = 160, blocks: int = 3) -> Tensors:
    """State dict of the umt5 encoder as Wan publishes it (models_t5_umt5-xxl-enc), float32."""
    w = Weights(seed)
    w.tensors["token_embedding.weight"] = w.normal(vocabulary, width)
    for index in range(blocks):
        block = f"blocks.{index}"
        w.constant(f"{block}.norm1.weight", 1.0, width)
        w.constant(f"{block}.norm2.weight", 1.0, width)
        # T5 does not divide q k by the root of the head's width: q is small instead
        w.linear(f"{block}.attn.q", width, width, gain=(width // HEADS) ** -0.5, bias=None)
        w.linear(f"{block}.attn.k", width, width, bias=None)
        w.linear(f"{block}.attn.v", width, width, bias=None)
        w.linear(f"{block}.attn.o", width, width, gain=0.5, bias=None)
        w.linear(f"{block}.ffn.gate.0", ffn, width, bias=None)
        w.linear(f"{block}.ffn.fc1", ffn, width, bias=None)
        w.linear(f"{block}.ffn.fc2", width, ffn, gain=0.5, bias=None)
        w.tensors[f"{block}.pos_embedding.embedding.weight"] = w.normal(BUCKETS, HEADS, std=0.5)
    w.constant("norm.weight", 1.0, width)
    return w.tensors


def clip_vision(
    seed: int, width: int = IMAGE_FEATURES, mlp: int = 1280, blocks: int = 2, projection: int = CLIP_HEAD
) -> Tensors:
    """State dict of the vision tower of open-clip XLM-R ViT-H as Wan publishes it, float32."""
    w = Weights(seed)
    w.constant("log_scale", 2.6592, *())
    w.tensors["visual.cls_embedding"] = w.normal(1, 1, width)
    w.tensors["visual.pos_embedding"] = w.normal(1, CLIP_POSITIONS, width, std=0.3)
    w.tensors["visual.head"] = w.normal(width, projection, std=width**-0.5)
    w.tensors["visual.patch_embedding.weight"] = w.normal(width, 3, 14, 14, std=(3 * 14 * 14) ** -0.5)
    for name in ("pre_norm", "post_norm"):
        w.norm(f"visual.{name}", width)
    for index in range(blocks):
        block = f"visual.transformer.{index}"
        w.norm(f"{block}.norm1", width)
        w.norm(f"{block}.norm2", width)
        w.linear(f"{block}.attn.to_qkv", 3 * width, width)
        w.linear(f"{block}.attn.proj", width, width, gain=0.5)
        w.linear(f"{block}.mlp.0", mlp, width)
        w.linear(f"{block}.mlp.2", width, mlp, gain=0.5)
    return w.tensors
