"""A small Wan in every format that quantizes activations, and what is done with it."""

import functools
from collections import Counter

import pytest
import small_wan
from torch.utils._python_dispatch import TorchDispatchMode

from x2v_quant.benchmarks.wan import WanSize

SIZE = WanSize(blocks=2)


@pytest.fixture(scope="session")
def wan_files(tmp_path_factory):
    """Format -> (bf16 path, quantized path). Layers that a norm feeds have one factor, as smoothing gives them."""

    def factor_of(key):
        return key.replace(".k.", ".q.").replace(".v.", ".q.") if "self_attn" in key else key

    return small_wan.WanFiles(tmp_path_factory, SIZE, factor_of)


@pytest.fixture
def load(wan_files):
    """load(format, scheme="reference", compute dtype) -> MODEL: the reference quantizes activations on any machine."""
    from x2v_quant.loading.dit import load_dit
    from x2v_quant.schemes import SchemeChoice

    return lambda format_name="int8-channel", scheme="reference", compute_dtype="auto": load_dit(
        wan_files[format_name][1], SchemeChoice(dit=scheme, compute_dtype=compute_dtype)
    )


@pytest.fixture
def sample():
    """sample(model, steps=2, cfg=2.0, batch=1) -> latents"""
    return functools.partial(small_wan.sample, cfg=2.0)


@pytest.fixture
def lora():
    """A LoRA on one of three siblings, one layer of a pair, and one alone."""
    layers = {"self_attn.k": (SIZE.dim, SIZE.dim), "cross_attn.v": (SIZE.dim, SIZE.dim), "ffn.0": (SIZE.ffn, SIZE.dim)}
    on = {f"blocks.{block}.{layer}": shape for layer, shape in layers.items() for block in range(SIZE.blocks)}
    return small_wan.lora(on)


@pytest.fixture
def ops_called():
    """A context that counts this pack's ops by name."""

    class Called(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.count = Counter()

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.namespace == "x2v_quant":
                # the last argument is the kernel's name and its format
                op, kernel = function._schema.name.removeprefix("x2v_quant::"), args[-1].split()[0]
                self.count[f"{kernel} {op}"] += 1
            return function(*args, **(kwargs or {}))

    return Called
