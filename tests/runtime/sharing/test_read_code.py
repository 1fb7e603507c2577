"""The rule of the table, held against core's code: by its digest, and by running it where writes are counted."""

import importlib

import pytest
import torch
from older_comfyui import core_knows_seedvr2

from x2v_quant.runtime.sharing.read_code import ROWS, digest, is_as_read, row_of

WIDTH, HEADS, TOKENS = 256, 2, 6
# widths of core's position embeddings, of a head of 128
AXES = {"wan": [44, 42, 42], "qwen": [16, 56, 56]}


def settings():
    import comfy.ops

    return {"operations": comfy.ops.disable_weight_init, "dtype": torch.float32, "device": None}


def positions(family):
    from comfy.ldm.flux.layers import EmbedND

    embed = EmbedND(dim=WIDTH // HEADS, theta=10000, axes_dim=AXES[family])
    return embed(torch.arange(3.0 * TOKENS).view(1, TOKENS, 3)).contiguous()


def tokens(rows=TOKENS):
    return torch.randn((1, rows, WIDTH), generator=torch.Generator().manual_seed(rows))


# row -> (arguments of the class, arguments of calls)
MODULES = {
    "WanSelfAttention": (
        lambda: {"dim": WIDTH, "num_heads": HEADS, "operation_settings": settings()},
        lambda: [(tokens(), positions("wan").movedim(1, 2))],
    ),
    "WanT2VCrossAttention": (
        lambda: {"dim": WIDTH, "num_heads": HEADS, "operation_settings": settings()},
        lambda: [(tokens(), tokens(9))],
    ),
    "WanI2VCrossAttention": (
        lambda: {"dim": WIDTH, "num_heads": HEADS, "operation_settings": settings()},
        lambda: [(tokens(), tokens(9), 4)],
    ),
    "CausalWanSelfAttention": (
        lambda: {"dim": WIDTH, "num_heads": HEADS, "operation_settings": settings()},
        lambda: [
            (tokens(), positions("wan").movedim(1, 2)),
            (tokens(), positions("wan").movedim(1, 2), cache()),
        ],
    ),
    "Attention": (
        lambda: {"query_dim": WIDTH, "dim_head": WIDTH // HEADS, "heads": HEADS, **settings()},
        lambda: [(tokens(4), tokens(2), None, None, positions("qwen"))],
    ),
    "FeedForward": (
        lambda: {
            "dim": WIDTH,
            "hidden_dim": 2 * WIDTH,
            "multiple_of": 64,
            "ffn_dim_multiplier": None,
            "operation_settings": settings(),
        },
        lambda: [(tokens(),)],
    ),
    "CrossAttention": (
        lambda: {"query_dim": WIDTH, "heads": HEADS, "dim_head": WIDTH // HEADS, **settings()},
        lambda: [(tokens(),), (tokens(), tokens(9))],
    ),
    "SwiGLUMLP": (
        lambda: {"dim": WIDTH, "expand_ratio": 2, **settings()},
        lambda: [(tokens(),)],
    ),
    "YakMLP": (
        lambda: {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, **settings()},
        lambda: [(tokens(),)],
    ),
}


def cache():
    return {"end": 0, **{name: torch.zeros(1, TOKENS, HEADS, WIDTH // HEADS) for name in "kv"}}


IN_CORE = [pytest.param(row, marks=core_knows_seedvr2) if "seedvr" in row.forward else row for row in ROWS.values()]


def class_of(row):
    module, name = row.forward.split(":")
    return getattr(importlib.import_module(module), name.split(".")[0])


def built(row):
    module = class_of(row)(**MODULES[class_of(row).__name__][0]())
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data.normal_(generator=generator).mul_(WIDTH**-0.5)
    return module


def writes_between(module, group, calls):
    """For each call: the inputs that the layers of `group` got, and each one's count of writes when they got it."""
    seen = []
    hooks = [
        getattr(module, name).register_forward_pre_hook(lambda layer, args: seen.append((args[0], args[0]._version)))
        for name in group
    ]
    found = []
    for arguments in calls:
        seen.clear()
        with torch.no_grad():
            module(*arguments)
        found.append(list(seen))
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("row", IN_CORE, ids=lambda row: row.forward)
def test_nothing_writes_to_an_input_between_two_layers(row):
    module = built(row)
    assert row_of(module) is row
    for group in row.groups:
        for seen in writes_between(module, group, MODULES[type(module).__name__][1]()):
            assert len(seen) == len(group)
            assert len({id(x) for x, _ in seen[-2:]}) == 1, "the last two get the same tensor"
            for x, version in seen:
                assert {other for y, other in seen if y is x} == {version}


@pytest.mark.parametrize("row", IN_CORE, ids=lambda row: row.forward)
def test_the_code_was_read(row):
    """A new digest goes into the row once its `forward` was read and the test above passes."""
    found = digest(class_of(row).forward.__code__)
    assert found in row.read, f'read {row.forward} again, then add "{found}" to its row'
    assert is_as_read(row, built(row))


class Writing(torch.nn.Module):
    """What the rule forbids."""

    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

    def forward(self, x):
        y = self.a(x)
        return self.b(x.mul_(2)) + y


def test_a_write_would_be_seen():
    (seen,) = writes_between(Writing(), ("a", "b"), [(torch.ones(1, 4),)])
    assert [version for _, version in seen] == [0, 1]


def test_a_module_with_other_code_has_no_row_or_is_not_as_read():
    row = next(iter(ROWS.values()))
    base = class_of(row)

    class Own(base):
        def forward(self, x):
            return self.q(x)

    class Claimed(base):
        def forward(self, x, freqs, transformer_options=None):
            return self.q(x.mul_(2))

    Claimed.forward.__module__, Claimed.forward.__qualname__ = base.forward.__module__, base.forward.__qualname__
    arguments = MODULES[base.__name__][0]()
    assert row_of(Own(**arguments)) is None
    assert row_of(Claimed(**arguments)) is row
    assert not is_as_read(row, Claimed(**arguments))
