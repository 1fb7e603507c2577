"""What tests of the pack's torch ops watch."""

from torch.utils._python_dispatch import TorchDispatchMode


class Recorded(TorchDispatchMode):
    """The ops of this pack that are called inside, with their arguments."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "x2v_quant":
            self.calls.append((function, args))
        return function(*args, **(kwargs or {}))
