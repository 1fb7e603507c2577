"""A report in words."""

from x2v_quant.runtime.memory import Component, MemoryReport, MemoryUse, describe
from x2v_quant.runtime.memory.report import RESIDENCIES, DevicePeak, Peak, ProcessPeak

PROCESS = ProcessPeak(3_210_000_000, "since this run began", 2_000_000_000, 900_000_000)
PEAK = Peak("since this run began", (DevicePeak("cuda:0", 5_120_000_000, 6_000_000_000),), PROCESS)
WEIGHTS = {"weights": MemoryUse(ram=200_000_000, disk=13_800_000_000)}


def test_a_place_is_a_field():
    assert tuple(RESIDENCIES) == tuple(vars(MemoryUse()))


def test_one_model():
    model = Component(
        "MODEL", {**WEIGHTS, "LoRA and other patches": MemoryUse(ram=300_000_000)}, 14 * 10**9, 28 * 10**9
    )
    assert describe(MemoryReport((model,), PEAK)).splitlines() == [
        "MODEL:",
        "- 14.0 GB of weights, 50% of the 28.0 GB that it would have in bf16",
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
    assert "- weights on the move: 4.00 GB on the device\n" in text
    assert "- 14.0 GB of them are shared and counted above\n" in text
    assert "Together:\n- 4.00 GB on the device, 200 MB RAM, 13.8 GB in the file\n" in text
    assert "dynamic VRAM" in text


def test_a_system_that_tells_little():
    peak = Peak("since ComfyUI was started", (), ProcessPeak(3_210_000_000, "since ComfyUI was started", None, None))
    text = describe(MemoryReport((), peak))
    assert text == "Peaks:\n- process: 3.21 GB resident, since ComfyUI was started"
