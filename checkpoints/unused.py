"""Tensors that files carry and that no forward uses: tables that the code computes, and norms that nothing calls."""

from collections.abc import Iterable

from .family import Family

# how names end of what other engines save and ComfyUI's models compute: angles of positions, numbers of tokens
COMPUTED = {
    *("freqs", "freqs_cis", "freqs_cos", "freqs_sin", "pos_freqs", "neg_freqs", "rope_freqs", "inv_freq"),
    *("cos_cached", "sin_cached", "position_ids", "num_batches_tracked"),
}
# family -> those that its model in ComfyUI has all the same
WANTED = {
    "SeedVR2": {"freqs"},
    "MiniMax-H3": {"inv_freq"},
    "MiniMax-H3 (diffusers names)": {"inv_freq"},
    "unknown DiT": COMPUTED,
    "not a model that is known here": COMPUTED,
}
# family -> weights that were trained and are used no more
IDLE = {
    "Z-Image": {"norm_final.weight"},
    "Z-Image (diffusers names)": {"norm_final.weight"},
}


def unused(family: Family, names: Iterable[str]) -> list[str]:
    """Which of a model's tensors, by their names without prefix, are none of ComfyUI's model and change nothing."""
    computed, idle = COMPUTED - WANTED.get(family.model, set()), IDLE.get(family.model, set())
    return [name for name in names if name in idle or name.rpartition(".")[2] in computed]


def note(names: list[str]) -> list[str]:
    """One sentence, none for no names."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return [f"{names[0]}{more} left out: ComfyUI's model does not use it"] if names else []
