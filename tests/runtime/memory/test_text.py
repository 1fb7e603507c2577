"""A report in words."""

import pytest

from x2v_quant.common.sizes import amount
from x2v_quant.runtime.memory import Component, MemoryReport, MemoryUse, describe
from x2v_quant.runtime.memory.report import RESIDENCIES, DevicePeak, Peak, ProcessPeak

PROCESS = ProcessPeak(3_210_000_000, "since this run began", 2_000_000_000, 900_000_000, 24_000_000_000)
GPU = DevicePeak("cuda:0", 5_120_000_000, 6_000_000_000, 12_880_000_000, 400_000_000)
PEAK = Peak("since this run began", (GPU,), PROCESS)
WEIGHTS = {"weights": MemoryUse(ram=200_000_000, disk=13_800_000_000)}


def test_a_place_is_a_field():
    assert tuple(RESIDENCIES) == tuple(vars(MemoryUse()))


def test_one_model():
    model = Component(
        "MODEL", {**WEIGHTS, "LoRA and other patches": MemoryUse(ram=300_000_000)}, 14 * 10**9, 28 * 10**9
    )
    assert describe(MemoryReport((model,), PEAK)).splitlines() == [
        "Fits: 6.00 GB of 12.9 GB VRAM (12 GB card), 3.21 GB of 24.0 GB RAM at the peak.",
        "",
        "MODEL:",
        "- 14.0 GB of weights, 50% of the 28.0 GB that it would take in bf16",
        "- 200 MB RAM, 13.8 GB in the file",
        "- LoRA and other patches: 300 MB RAM",
        "",
        "Peaks:",
        "- cuda:0: 5.12 GB allocated and 6.00 GB reserved by PyTorch, since this run began",
        "- process: 3.21 GB resident, since this run began; now 2.00 GB of its own, 900 MB of mapped files",
    ]


def test_two_models_are_summed_and_dynamic_vram_is_explained():
    high = Component(
        "high", {**WEIGHTS, "weights on the move": MemoryUse(device=4 * 10**9)}, 14 * 10**9, 28 * 10**9, 0, True
    )
    low = Component("low", {"weights": MemoryUse()}, 14 * 10**9, 28 * 10**9, 14 * 10**9)
    text = describe(MemoryReport((high, low), PEAK))
    assert "- copies made by dynamic VRAM: 4.00 GB on the device\n" in text
    assert "- 14.0 GB of them are shared and counted above\n" in text
    assert "Together:\n- 4.00 GB on the device, 200 MB RAM, 13.8 GB in the file\n" in text
    assert "dynamic VRAM" in text


def test_a_system_that_tells_little():
    peak = Peak(
        "since ComfyUI was started", (), ProcessPeak(3_210_000_000, "since ComfyUI was started", None, None, 24 * 10**9)
    )
    assert describe(MemoryReport((), peak)).splitlines() == [
        "RAM: 3.21 GB of 24.0 GB at the peak.",
        "",
        "Peaks:",
        "- process: 3.21 GB resident, since ComfyUI was started",
    ]


@pytest.mark.parametrize("pages,fits", [(0, True), (6_400_000_000, True), (6_600_000_000, False), (10**12, False)])
def test_a_run_fits_while_what_comfyui_leaves_to_others_is_free(pages, fits):
    """The pages of dynamic VRAM are not PyTorch's: they come on top."""
    model = Component("m", {"weights": MemoryUse(), "weights on the move": MemoryUse(device=pages)}, 1, 2, 0, True)
    line = describe(MemoryReport((model,), PEAK)).splitlines()[0]
    shown = amount(min(6_000_000_000 + pages, GPU.total))
    assert line.startswith(f"{'Fits' if fits else 'Full'}: {shown} of 12.9 GB VRAM (12 GB card), ")
    assert line.endswith("then to a smaller number.") == (not fits)


@pytest.mark.parametrize(
    "total,card",
    [
        (6_441_992_192, " (6 GB card)"),  # GTX 1660
        (8_589_410_304, " (8 GB card)"),  # RTX 3070
        (12_622_168_064, " (12 GB card)"),  # RTX 3060
        (17_170_956_288, " (16 GB card)"),  # RTX 4080
        (25_393_692_672, " (24 GB card)"),  # RTX 4090
        (34_190_917_632, " (32 GB card)"),  # RTX 5090
        (150_110_011_392, " (141 GB card)"),  # H200
        (300_000_000_000, ""),
    ],
)
def test_a_card_has_the_number_that_it_is_sold_with(total, card):
    device = DevicePeak("cuda:0", 10**9, 10**9, total, 400_000_000)
    line = describe(MemoryReport((), Peak("since this run began", (device,), PROCESS))).splitlines()[0]
    assert line == f"Fits: 1.00 GB of {amount(total)} VRAM{card}, 3.21 GB of 24.0 GB RAM at the peak."


def test_the_fullest_device_counts():
    small = DevicePeak("cuda:1", 7_000_000_000, 7_900_000_000, 8_000_000_000, 400_000_000)
    peak = Peak("since this run began", (GPU, small), PROCESS)
    assert describe(MemoryReport((), peak)).startswith("Full: 7.90 GB of 8.00 GB VRAM")
