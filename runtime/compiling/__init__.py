"""torch.compile for the blocks of a diffusion model, and a count of its compilations."""

from .apply import compilations_of, compiled, compiled_again

__all__ = ["compilations_of", "compiled", "compiled_again"]
