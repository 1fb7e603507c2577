"""The user's lines: what they say, what they match, and what is wrong with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2v_quant.common import limits
from x2v_quant.formats import FORMATS
from x2v_quant.layer_rules import Override, RuleError, parse_overrides, select
from x2v_quant.layer_rules.format_names import CHOICES, format_named

LAYERS = {
    "text_embedding.0": (256, 256),
    **{
        f"blocks.{i}.{part}": (256, 256)
        for i in (0, 1, 10)
        for part in ("self_attn.q", "self_attn.k", "cross_attn.q", "ffn.0", "ffn.2")
    },
    "head.head": (64, 256),
}
NAMES = [*(f"{name}.weight" for name in LAYERS), "head.modulation"]
ODD = {**LAYERS, "blocks.0.ffn.0": (256, 255)}


def chosen(text, layers=LAYERS, format_name="int8-channel"):
    return select(layers, NAMES, format_name, parse_overrides(text))


def test_lines_comments_and_blank_lines():
    text = """
    # first and last block
    blocks.0.* = keep   # for quality
    ffn.2=fp8

    *.q =  INT8-Channel
    """
    assert parse_overrides(text) == [
        Override("blocks.0.*", "keep"),
        Override("ffn.2", "fp8-channel"),
        Override("*.q", "int8-channel"),
    ]


@pytest.mark.parametrize(
    "written,meant",
    [
        ("fp8", "fp8-channel"),
        ("int8-sgl", "int8-channel"),
        ("w8a8-mxfp8", "mxfp8"),
        ("W-int4-group128-sym-Marlin", "int4-g128"),
        ("int4-g128-marlin", "int4-g128"),
        ("NVFP4", "nvfp4"),
        *((name, name) for name in CHOICES),
    ],
)
def test_a_scheme_stands_for_its_format(written, meant):
    assert parse_overrides(f"ffn.0 = {written}") == [Override("ffn.0", meant)]
    assert meant in FORMATS
    assert select(LAYERS, NAMES, written).formats["blocks.0.ffn.0"] == meant


@pytest.mark.parametrize(
    "line,words",
    [
        ("ffn.0", "'pattern = format'"),
        ("ffn.0 =", "'pattern = format'"),
        ("= fp8", "'pattern = format'"),
        ("ffn.0 = fp8-e5m2", "is only read: such weights become fp8-channel at load"),
        ("ffn.0 = fp9", "neither a format nor a scheme"),
        ("ffn.0 = int8-channel keep", "neither a format nor a scheme"),
        ("ffn.0 = auto", "no format of its own"),
        ("ffn.0 = fp8-reduced", "is what fp8-channel becomes"),
    ],
)
def test_a_wrong_line_is_named(line, words):
    with pytest.raises(RuleError) as error:
        parse_overrides(f"# rules\n{line}\nffn.2 = keep")
    assert words in str(error.value)
    assert str(error.value).startswith("Line 2 of the layer rules")


@pytest.mark.parametrize("name", ["fp9", "auto", "fp8-reduced", "keep"])
def test_the_format_for_the_rest_is_held_to_the_same(name):
    with pytest.raises(RuleError):
        select(LAYERS, NAMES, name)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    try:
        parsed = parse_overrides(text)
    except RuleError as error:
        assert str(error)
    else:
        assert all(override.pattern and override.format in (*CHOICES, "keep") for override in parsed)


@given(st.lists(st.tuples(st.text("abq.*?[]-!", min_size=1), st.sampled_from((*CHOICES, "keep"))), max_size=5))
def test_what_is_written_is_read_back(rows):
    text = "\n".join(f"  {pattern}={value} # why" for pattern, value in rows)
    assert parse_overrides(text) == [Override(*row) for row in rows]


@pytest.mark.parametrize(
    "pattern,matches",
    [
        ("blocks.0.ffn.0", {"blocks.0.ffn.0"}),
        ("blocks.0.ffn.0.weight", {"blocks.0.ffn.0"}),
        ("model.diffusion_model.blocks.0.ffn.0", {"blocks.0.ffn.0"}),
        ("ffn.0", {f"blocks.{i}.ffn.0" for i in (0, 1, 10)}),
        ("self_attn.*", {f"blocks.{i}.self_attn.{c}" for i in (0, 1, 10) for c in "qk"}),
        ("self_attn", {f"blocks.{i}.self_attn.{c}" for i in (0, 1, 10) for c in "qk"}),
        ("blocks.1", {name for name in LAYERS if name.startswith("blocks.1.")}),
        ("blocks.1.*", {name for name in LAYERS if name.startswith("blocks.1.")}),
        ("blocks.1*", {name for name in LAYERS if name.startswith(("blocks.1.", "blocks.10."))}),
        ("blocks.[01].*.q", {f"blocks.{i}.{a}_attn.q" for i in (0, 1) for a in ("self", "cross")}),
        ("blocks.?.ffn.2", {"blocks.0.ffn.2", "blocks.1.ffn.2"}),
        # with a wildcard it is the whole name or its end, not a module
        ("ffn.?", {f"blocks.{i}.ffn.{j}" for i in (0, 1, 10) for j in (0, 2)}),
        ("*.ffn", set()),
        ("fn.0", set()),
        ("FFN.0", set()),
        ("*", set(LAYERS)),
    ],
)
def test_what_a_pattern_matches(pattern, matches):
    (override,) = parse_overrides(f"{pattern} = keep")
    assert {name for name in LAYERS if override.matches(name)} == matches


def test_the_last_match_counts():
    selection = chosen("* = fp8\nblocks.0.* = keep\nblocks.0.ffn.0 = nvfp4")
    assert selection.formats["blocks.0.ffn.0"] == "nvfp4"
    assert "'blocks.0.* = keep'" in selection.kept["blocks.0.ffn.2"]
    assert selection.formats["blocks.1.ffn.0"] == "fp8-channel"


def test_an_override_takes_what_the_family_keeps():
    assert "head.head" in chosen("").kept
    assert chosen("head.head = fp8").formats["head.head"] == "fp8-channel"


@pytest.mark.parametrize(
    "pattern,hint", [("blocks.9.ffn.0", "blocks.0.ffn.0"), ("self_atn.q", "self_attn.q"), ("ffn.00", "ffn.0")]
)
@pytest.mark.parametrize("value", ["keep", "fp8"])
def test_a_pattern_that_matches_nothing_gets_near_names(pattern, hint, value):
    with pytest.raises(RuleError, match="matches no layer") as error:
        chosen(f"{pattern} = {value}")
    assert hint in str(error.value)


@pytest.mark.parametrize("pattern", ["shared", "*shared*", "token_embedding"])
def test_an_embedding_is_refused(pattern):
    layers = {"shared": (64, 256), "token_embedding": (64, 256), **LAYERS}
    with pytest.raises(RuleError, match="is an embedding"):
        chosen(f"{pattern} = int8", layers)
    assert "is an embedding" in chosen(f"{pattern} = keep", layers).kept["shared"]


def test_a_wildcard_passes_over_embeddings():
    layers = {"shared": (64, 256), **LAYERS}
    selection = chosen("* = fp8", layers)
    assert set(selection.formats) == set(LAYERS)
    assert "is an embedding" in selection.kept["shared"]


def test_what_a_format_cannot_hold_is_kept_with_the_reason():
    selection = chosen("", ODD, "int4-g128")
    assert "multiple of 2, not 255" in selection.kept["blocks.0.ffn.0"]
    assert selection.formats["blocks.1.ffn.0"] == "int4-g128"


def test_unless_an_override_asks_for_it():
    with pytest.raises(RuleError, match=r"blocks\.0\.ffn\.0 cannot be int4-g128"):
        chosen("ffn.0 = int4-g128", ODD)
    # a later line may take the one layer out
    selection = chosen("ffn.0 = int4-g128\nblocks.0.ffn.0 = int8", ODD)
    assert selection.formats["blocks.0.ffn.0"] == "int8-channel"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["*", "ffn.0", "blocks.0", "*.q", "head.head", "x"]), st.sampled_from(["fp8", "keep"])
        ),
        max_size=6,
    ),
    st.sampled_from(CHOICES),
)
def test_every_layer_is_sorted_by_its_last_line(rows, format_name):
    overrides = [Override(pattern, "keep" if value == "keep" else format_named(value)) for pattern, value in rows]
    if any(pattern == "x" for pattern, _ in rows):
        with pytest.raises(RuleError, match="matches no layer"):
            select(LAYERS, NAMES, format_name, overrides)
        return
    selection = select(LAYERS, NAMES, format_name, overrides)
    assert list(LAYERS) == sorted([*selection.formats, *selection.kept], key=list(LAYERS).index)
    assert not set(selection.formats) & set(selection.kept)
    for name in LAYERS:
        last = [override.format for override in overrides if override.matches(name)][-1:]
        if last:
            assert selection.formats.get(name, "keep") == last[0]


@pytest.mark.parametrize(
    "text,words",
    [
        ("x = keep\n" * (limits.LAYER_RULES + 1), "There are 2001 layer rules, and 2000 are read at most"),
        ("#" * (limits.LAYER_RULES_CHARS + 1), "have 1000001 characters, and 1000000 are read at most"),
        ("x" * limits.KEY_CHARS + " = keep", "Line 1 of the layer rules has 1031 characters, and no layer's name"),
    ],
)
def test_rules_longer_than_any_that_are_needed(text, words):
    with pytest.raises(RuleError, match=words):
        parse_overrides(text)
