"""Names of compiled modules: torch.compile wraps a module, which adds a component to all names inside."""

# the attribute of the wrapper that holds the original module, and so a component of names
COMPILED = "_orig_mod"


def plain_name(name: str) -> str:
    """The name of a module or tensor without the wrappers' components: as in the file."""
    return ".".join(part for part in name.split(".") if part != COMPILED)


def is_compiled(module: object) -> bool:
    """Whether the module is a wrapper of torch.compile."""
    return hasattr(module, COMPILED)


def uncompiled(module):
    """The original module of a compiled one; any other module as it is."""
    return getattr(module, COMPILED, module)
