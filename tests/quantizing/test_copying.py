"""Copies of modules: whatever refers to a module refers to its copy."""

import functools

import torch

from x2v_quant.core.private import WHILE_LOADED
from x2v_quant.quantizing.copying import Copier


class Holder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
        self.tied = self.layer
        self.loose = [self.layer, {"key": (self.layer, 3)}]
        self.same = self.loose
        self.method = self.layer.forward
        self.partial = functools.partial(self.layer.forward, torch.ones(1, 2))
        self.register_buffer("table", torch.arange(3))
        self.loose.append(self.loose)
        self.parameter = torch.nn.Parameter(torch.ones(2))
        self.again = self.parameter


def test_every_reference_leads_to_the_one_copy():
    first = Holder()
    made = Copier({}).of(first)
    assert type(made) is Holder
    layer = made.layer
    assert layer is not first.layer
    assert made.tied is made.loose[0] is made.loose[1]["key"][0] is made.method.__self__ is layer
    assert made.partial.func.__self__ is layer
    assert made.same is made.loose is made.loose[2]
    assert made.loose is not first.loose
    assert made.again is made.parameter is not first.parameter
    assert made.table is first.table
    assert torch.equal(made.method(torch.ones(1, 2)), first.method(torch.ones(1, 2)))


def test_moving_a_copy_leaves_the_first_where_it_was():
    first = Holder()
    made = Copier({}).of(first)
    assert made.layer.weight.data_ptr() == first.layer.weight.data_ptr()
    made.to(torch.float64)
    assert (made.layer.weight.dtype, made.parameter.dtype) == (torch.float64, torch.float64)
    assert (first.layer.weight.dtype, first.parameter.dtype) == (torch.float32, torch.float32)


def test_a_replaced_module_is_what_every_reference_leads_to():
    first, other = Holder(), torch.nn.Identity()
    made = Copier({first.layer: other}).of(first)
    assert made.layer is made.tied is made.loose[0] is made.method.__self__ is other
    assert dict(made.named_parameters()).keys() == {"parameter"}


def test_what_core_hangs_on_loaded_modules_stays_behind():
    first = torch.nn.Linear(2, 2)
    for name in WHILE_LOADED:
        setattr(first, name, [name])
    made = Copier({}).of(first)
    assert not WHILE_LOADED & made.__dict__.keys()
