"""torch.compile for the blocks of a diffusion model, and what it has compiled so far in words."""

from .apply import compilations_of, compiled, compiled_again

__all__ = ["compilations_of", "compiled", "compiled_again"]
