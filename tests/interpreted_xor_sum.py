"""`tl.xor_sum`, of which `tl.flip` is made, in one NumPy call: Triton's interpreter combines two elements at a time in
Python, which takes seconds for every tile that is reversed."""

import numpy as np


def add():
    """Teach the interpreter."""
    from triton.language.standard import _xor_combine
    from triton.runtime.interpreter import ReduceOps

    usual = ReduceOps.apply_impl

    def apply_impl(self, values):
        if self.combine_fn is not _xor_combine:
            return usual(self, values)
        (value,) = values
        data = np.bitwise_xor.reduce(value.handle.data, axis=self.axis, keepdims=self.keep_dims)
        return self.to_tensor(data, value.dtype)

    ReduceOps.apply_impl = apply_impl
