"""Float weights as w4a8: scales by alternating least squares, codes by the nearest level. As comfy-kitchen does it."""

from typing import NamedTuple

import torch

from .int8_convrot import rotated
from .lloyd_max import LEVELS, codebook_for, nearest, of_codes
from .rounding import random_like
from .w4a8_codes import GROUP, LARGEST, level_table, packed

# a group, and a row, of zeros gets this
SMALLEST = 1e-8
# a table whose levels are all smaller is fitted as one that reaches to 1; and the largest float8
PEAK, LARGEST_SCALE = 0.5, 448.0
# the third pass and later ones gain next to nothing
PASSES = 2
# float32 weights that are quantized at a time, and those that the codebook is chosen by
CHUNK = SAMPLED = 1 << 22


class Fitted(NamedTuple):
    """As w4a8_codes.py has them."""

    codes: torch.Tensor
    scale: torch.Tensor
    s_channel: torch.Tensor


def fit(weight: torch.Tensor, rotation: int, codebook: torch.Tensor, seed: int = 0) -> Fitted:
    """weight float [N, K], K a multiple of 16 and of `rotation`. seed: above 0 rounds up or down in proportion to the
    distance."""
    rows = max(1, CHUNK // weight.shape[1])
    parts = [
        _fit(rotated(part.float(), rotation), codebook, seed and seed + index * rows)
        for index, part in enumerate(weight.split(rows))
    ]
    return parts[0] if len(parts) == 1 else Fitted(*(torch.cat(each) for each in zip(*parts, strict=True)))


def sampled_rows(rows: int, columns: int) -> torch.Tensor:
    """Which rows of a weight its codebook is chosen by, int64: all, or some that are evenly spaced."""
    most = max(1, SAMPLED // columns)
    return torch.arange(rows) if rows <= most else torch.linspace(0, rows - 1, most).long()


def choose_codebook(sample: torch.Tensor, rotation: int) -> torch.Tensor:
    """The codebook, float32 [16], for a weight of which `sample`, float [M, K], has the `sampled_rows`."""
    return codebook_of_groups(rotated(sample.float(), rotation).unflatten(1, (-1, GROUP)))


def codebook_of_groups(groups: torch.Tensor) -> torch.Tensor:
    """float32 [16], for rotated weights float32 [N, G, 16]."""
    return codebook_for(groups / groups.abs().amax(dim=2, keepdim=True).clamp_(min=SMALLEST))


def scales_of(groups: torch.Tensor, codebook: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """groups: rotated weights float32 [N, G, 16] -> scale float8_e4m3fn [N, G], s_channel float32 [N]."""
    peak = float(codebook.abs().amax())
    lift = 1.0 if peak >= PEAK else 1 / peak
    scale, codes = least_squares(groups, codebook * lift)
    largest = of_codes(codebook * lift, codes).mul_(scale).abs_().amax(dim=(1, 2))
    scale = scale * lift
    # float8 ends before a table of small levels comes to 127
    s_channel = torch.maximum(largest / LARGEST, scale.amax(dim=(1, 2)) / LARGEST_SCALE).clamp_(min=SMALLEST)
    return (scale.squeeze(2) / s_channel.unsqueeze(1)).to(torch.float8_e4m3fn), s_channel


def _fit(values: torch.Tensor, codebook: torch.Tensor, seed: int) -> Fitted:
    """values: rotated, float32."""
    groups = values.unflatten(1, (-1, GROUP))
    scale, s_channel = scales_of(groups, codebook)
    table = level_table(scale, codebook).flatten(0, 1)
    targets = (groups / s_channel.view(-1, 1, 1)).flatten(0, 1)
    chosen = _stochastic(targets, table, seed) if seed else nearest(targets, table)
    return Fitted(packed(chosen.view(values.shape)), scale, s_channel)


def least_squares(groups: torch.Tensor, codebook: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """groups float32 [N, G, 16] -> a scale for each, float32 [N, G, 1], and codes int64. In turn the scale that suits
    the codes best and the codes that suit the scale."""
    # a table that reaches beyond 1, as plain integers do, begins with a smaller scale
    reach = max(1.0, float(codebook.abs().amax()))
    scale = groups.abs().amax(dim=2, keepdim=True).div_(reach).clamp_(min=SMALLEST)
    codes = nearest(groups / scale, codebook)
    for _ in range(PASSES):
        found = of_codes(codebook, codes)
        scale = (groups * found).sum(dim=2, keepdim=True)
        scale = scale.div_((found * found).sum(dim=2, keepdim=True).clamp_(min=SMALLEST)).clamp_(min=SMALLEST)
        codes = nearest(groups / scale, codebook)
    return scale, codes


def _stochastic(targets: torch.Tensor, table: torch.Tensor, seed: int) -> torch.Tensor:
    """Codes of one of the two levels around each target: the upper one as often as the target is nearer to it."""
    lower = (torch.searchsorted(table, targets.contiguous()) - 1).clamp_(0, LEVELS - 2)
    below = table.gather(1, lower)
    threshold = random_like(targets, seed).mul_(table.gather(1, lower + 1) - below).add_(below)
    return lower + (targets > threshold)
