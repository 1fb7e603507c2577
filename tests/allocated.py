"""A count of the memory that torch's operators allocate."""

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Allocated(TorchDispatchMode):
    """A context. `bytes`: of all tensors that were made in it in memory of their own, freed ones too."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = {_memory(leaf) for leaf in tree_leaves((args, kwargs or {})) if hasattr(leaf, "untyped_storage")}
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if hasattr(leaf, "untyped_storage") and _memory(leaf) not in given:
                self.bytes += leaf.untyped_storage().nbytes()
        return result


def _memory(tensor):
    return tensor.untyped_storage()._cdata
