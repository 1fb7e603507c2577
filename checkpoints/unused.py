"""Tensors that files carry and that no forward uses: tables that the code computes, and norms that nothing calls."""

import re
from collections.abc import Mapping

from ..families.family import DIT
from ..families.recognise import Told
from .markers import WHOLE_FILE

# how names end of what other engines save and ComfyUI's models compute: angles of positions, numbers of tokens
COMPUTED = {
    *("freqs", "freqs_cis", "freqs_cos", "freqs_sin", "pos_freqs", "neg_freqs", "rope_freqs", "inv_freq"),
    *("cos_cached", "sin_cached", "position_ids", "num_batches_tracked"),
}
# what TransformerEngine's modules keep of their history
STATE = "_extra_state"
# tables of a noise schedule, which samplers compute
SCHEDULE = re.compile(
    r"((noise_)?scheduler\.)?(betas|alphas|(log_)?sigmas|timesteps|logvar|(sqrt_|log_)?(one_minus_)?(recip_|recipm1_)?alphas_cumprod"
    r"(_prev|_next)?|sqrt_recip(m1)?_alphas_cumprod|posterior_\w+|lvlb_weights)"
)


def unused(told: Told, counts: Mapping[str, int]) -> list[str]:
    """Which of a model's tensors (name without prefix -> how many values) are none of ComfyUI's model and change
    nothing. No known diffusion model has a single number beside its layers, but for flags that begin with "__"."""
    idle, computed = told.family.idle, COMPUTED - told.family.wanted if told.naming.signs else set()
    known = told.kind == DIT and bool(told.naming.signs)

    def is_one(name: str) -> bool:
        end = name.rpartition(".")[2]
        if known and counts[name] == 1 and end == name:
            return not name.startswith("__") and name != WHOLE_FILE
        return name in idle or end in computed or end == STATE or (known and SCHEDULE.fullmatch(name) is not None)

    return [name for name in counts if is_one(name)]


def note(names: list[str]) -> list[str]:
    """One sentence, none for no names."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return [f"{names[0]}{more} left out: ComfyUI's model does not use it"] if names else []
