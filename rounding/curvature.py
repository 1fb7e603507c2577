"""How much an error in each column of a weight matters, alone and with others: from a layer's recorded inputs."""

from dataclasses import dataclass

import torch

from .triangular import invert_lower_

# share of the mean of the Hessian's diagonal that is added to the diagonal (GPTQ, Frantar et al. 2022, section 3.3)
DAMPING = 0.01
# what it is multiplied by while float32 finds no Cholesky factor, at most so often
STRONGER, ATTEMPTS = 10.0, 5
# of the Hessian that are computed at a time
ROWS = 512


@dataclass(frozen=True)
class Curvature:
    """`order`: int64 [K], the columns by their mean squares, the largest last: GPTQ rounds them from the last to the
    first (its "activation order"). `triangles`: float32 [K, K], rows and columns in that order; up to the diagonal L^-1
    of the damped Hessian L L^T, above it the Hessian. `diagonal`: float32 [K], of the Hessian without damping."""

    order: torch.Tensor
    triangles: torch.Tensor
    diagonal: torch.Tensor


def curvature(tokens: torch.Tensor) -> Curvature:
    """tokens: float32 [T, K], in the basis of the codes. The Hessian of a row's squared error is X^T X up to a factor.

    At its peak two float32 [K, K] beside the tokens and a copy of them.
    """
    squares = tokens.square().sum(dim=0)
    order = squares.argsort(stable=True)
    ordered = tokens[:, order]
    hessian = ordered.t() @ ordered
    del ordered
    diagonal = hessian.diagonal()
    mean = diagonal.mean()
    damping = DAMPING * mean if bool(mean > 0) else torch.ones_like(mean)
    for _ in range(ATTEMPTS):
        diagonal += damping
        factor, failed = torch.linalg.cholesky_ex(hessian)
        if not bool(failed):
            del hessian, diagonal
            return Curvature(order, _with_hessian(invert_lower_(factor), tokens, order), squares[order])
        damping = damping * STRONGER
    # each column alone: the nearest
    return Curvature(order, torch.diag(squares[order].add_(damping).rsqrt_()), squares[order].add_(damping))


def _with_hessian(inverse: torch.Tensor, tokens: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Writes the Hessian above the diagonal of `inverse`. It is computed a second time because a second [K, K] would
    have to stay while the first is inverted."""
    ordered = tokens[:, order]
    for start in range(0, len(order), ROWS):
        stop = min(start + ROWS, len(order))
        rows = ordered[:, start:stop].t() @ ordered[:, start:]
        inverse[start:stop, start:].add_(rows.triu_(1))
    return inverse


class Curvatures:
    """The last one that was computed, for layers that share their input."""

    def __init__(self):
        self._key: tuple | None = None
        self._kept: Curvature | None = None

    def of(self, key: tuple | None, tokens) -> Curvature:
        """key: equal for the same tokens in the same basis, None for a layer alone. tokens(): see `curvature`."""
        if key is None or key != self._key:
            self._key = self._kept = None  # freed before the next one is made
            self._kept = curvature(tokens())
            self._key = key
        return self._kept
