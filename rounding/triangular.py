"""The inverse of a lower triangular matrix in its own memory: torch's needs twice as much, and three times the work."""

import torch

# below it torch's solver is called
SMALL = 256


def invert_lower_(matrix: torch.Tensor) -> torch.Tensor:
    """float [n, n], lower triangular with a positive diagonal; overwritten by its inverse and returned. Beside it, a
    quarter of its memory is used twice. By blocks: [[A, 0], [B, C]] has the inverse
    [[A', 0], [-C' B A', C']]."""
    size = len(matrix)
    if size <= SMALL:
        unit = torch.eye(size, dtype=matrix.dtype, device=matrix.device)
        return matrix.copy_(torch.linalg.solve_triangular(matrix, unit, upper=False))
    half = size // 2
    first, last, below = matrix[:half, :half], matrix[half:, half:], matrix[half:, :half]
    invert_lower_(first)
    invert_lower_(last)
    below.copy_((last @ below) @ first).neg_()
    return matrix
