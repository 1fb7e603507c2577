"""What "auto" means on machines that are only described."""

import pytest
import torch

from x2v_quant.kernels.machine import Machine
from x2v_quant.kernels.native import native_format
from x2v_quant.quantizing.planning import format_for, plan_for
from x2v_quant.schemes import SchemeChoice
from x2v_quant.schemes.plan import SchemeMismatchError

NOTHING = frozenset()
MACHINES = {
    "fp8-channel": [(8, 9), (9, 0), (10, 0), (12, 0)],
    "int8-channel": [(7, 5), (8, 0), (8, 6)],
}


@pytest.mark.parametrize("format_name,capability", [(name, c) for name, held in MACHINES.items() for c in held])
def test_auto_is_fp8_where_it_is_multiplied_and_int8_elsewhere(format_name, capability):
    assert native_format(Machine("cuda", "described", capability, libraries=NOTHING)) == format_name


@pytest.mark.parametrize("vnni", [False, True])
def test_auto_on_a_cpu_is_int8(vnni):
    assert native_format(Machine("cpu", "described", vnni=vnni, libraries=NOTHING)) == "int8-channel"


def test_a_named_format_is_itself_and_a_scheme_decides_what_auto_is():
    cpu = torch.device("cpu")
    assert format_for("int4-g128", "dit", SchemeChoice(dit="fp8-sgl"), cpu) == "int4-g128"
    assert format_for("auto", "dit", SchemeChoice(dit="fp8-b128-deepgemm"), cpu) == "fp8-block128"
    assert format_for("auto", "t5", SchemeChoice(dit="fp8-sgl", t5="int8-sgl"), cpu) == "int8-channel"


def test_mixed_formats_fit_no_scheme_of_one_of_them():
    with pytest.raises(SchemeMismatchError, match=r"become fp8-channel, but scheme int8-torch is for int8-channel"):
        plan_for("model", ["int8-channel", "fp8-channel"], "dit", SchemeChoice(dit="int8-torch"), "cpu", torch.float32)
