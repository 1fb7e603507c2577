"""Why a format is not fast on a machine, in words that its owner knows."""

import pytest
from older_comfyui import core_rotates_int8

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import KERNELS, outlook
from x2v_quant.kernels.machine import Machine
from x2v_quant.kernels.outlook import CARDS, UNTESTED, fast_kernels, in_words

NOTHING = frozenset()
NO_VNNI = "this CPU has no int8 dot-product instructions (VNNI), int8 would be slower than float"


def card(name, capability, system="Linux"):
    return Machine("cuda", name, capability, system=system, libraries=NOTHING)


@pytest.mark.parametrize(
    "machine,format_name,reason",
    [
        (card("GTX 1080", (6, 1)), "int8-channel", "needs an RTX 20 or newer"),
        pytest.param(card("GTX 1080", (6, 1)), "int8-convrot", "needs an RTX 20 or newer", marks=core_rotates_int8),
        (card("GTX 1080", (6, 1), "Windows"), "int8-channel", "needs an RTX 20 or newer"),
        (card("RTX 3060", (8, 6)), "fp8-channel", "needs an RTX 40 or newer"),
        (card("RTX 2080", (7, 5)), "fp8-tensor", "needs an RTX 40 or newer"),
        (card("RTX 3060", (8, 6)), "fp8-block128", "needs an RTX 40 or newer"),
        (card("RTX 4090", (8, 9)), "nvfp4", "needs an RTX 50 or newer"),
        (card("RTX 4090", (8, 9)), "fp8-block128", "needs triton, which is not installed (pip install triton)"),
        (Machine("cuda", "Radeon", libraries=NOTHING), "fp8-channel", "needs an NVIDIA GPU, this is Radeon"),
        (Machine("mps", "mps", libraries=NOTHING), "int8-channel", "needs a CUDA GPU, this is mps"),
        (Machine("cpu", "CPU", libraries=NOTHING), "int8-channel", NO_VNNI),
    ],
)
def test_the_reason_is_that_of_the_fast_kernel_that_asks_for_the_least(machine, format_name, reason):
    assert outlook(format_name, machine).reason == reason


@pytest.mark.parametrize("name", FORMATS)
def test_every_first_capability_is_a_card_that_users_know(name):
    assert {k.requires.min_capability for k in fast_kernels(name)} - {None} <= CARDS.keys()


def test_what_a_kernel_is_good_for_was_never_tested_on_amd():
    amd = Machine("cuda", "Radeon", libraries=NOTHING)
    words = {in_words(kernel.good_for, amd) for kernel in KERNELS}
    assert words == {UNTESTED, "saves memory only", "slow, for tests"}
    assert {in_words(kernel.good_for, card("RTX 3060", (8, 6))) for kernel in KERNELS} == words - {UNTESTED} | {"fast"}
