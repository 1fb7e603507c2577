"""What stays on the device under a limit."""

from hypothesis import given
from hypothesis import strategies as st

from x2v_quant.runtime.offload.blocks import Block
from x2v_quant.runtime.offload.resident import Entry, loose, resident

BLOCKS = [Block(f"blocks.{index}", None) for index in range(12)]
ENTRIES = st.lists(
    st.builds(
        Entry,
        st.builds(
            "{}.{}".format,
            st.sampled_from([*(block.name for block in BLOCKS[:4]), "blocks.11", "head", "blocks_1"]),
            st.integers(0, 9),
        ),
        st.integers(0, 1000),
        st.booleans(),
    ),
    unique_by=lambda entry: entry.name,
)


def names(entries, block):
    return {entry.name for entry in entries if entry.name.startswith(f"{block.name}.") and not entry.fixed}


@given(ENTRIES, st.integers(0, 5000))
def test_whole_blocks_stay_from_the_first_within_the_limit(entries, limit):
    stays = set(resident(entries, BLOCKS, limit))
    sizes = {entry.name: entry.nbytes for entry in entries}
    fixed = {entry.name for entry in entries if entry.fixed}
    assert fixed <= stays
    assert sum(sizes[name] for name in stays) <= max(limit, sum(sizes[name] for name in fixed))
    there = [names(entries, block) for block in BLOCKS if names(entries, block)]
    assert all(block <= stays or not block & stays for block in there)
    # in the order in which blocks come in the model's own list
    order = list(
        dict.fromkeys(
            next(b.name for b in BLOCKS if e.name.startswith(f"{b.name}."))
            for e in entries
            if not e.fixed and any(e.name.startswith(f"{b.name}.") for b in BLOCKS)
        )
    )
    kept = [bool(names(entries, Block(name, None)) & stays) for name in order]
    assert kept == sorted(kept, reverse=True)
    if any(kept):
        assert {entry.name for entry in loose(entries, BLOCKS)} <= stays


@given(ENTRIES)
def test_without_a_limit_everything_stays(entries):
    assert set(resident(entries, BLOCKS, float("inf"))) == {entry.name for entry in entries}
