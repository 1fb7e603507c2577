"""How long the kernels take that this machine can run, at the shapes of a model."""
