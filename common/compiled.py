"""What torch.compile does to modules: it wraps them, which puts a word into the names of all that is inside."""

# the attribute of a wrapper that holds the module it was made of, and so a part of names
COMPILED = "_orig_mod"


def plain_name(name: str) -> str:
    """The name of a module or tensor as in the file, compiled or not."""
    return ".".join(part for part in name.split(".") if part != COMPILED)


def is_compiled(module: object) -> bool:
    """Whether torch.compile made this module of another."""
    return hasattr(module, COMPILED)


def uncompiled(module):
    """The module that a compiled one was made of; any other as it is."""
    return getattr(module, COMPILED, module)
