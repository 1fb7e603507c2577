"""A memory report's verdict: whether the run fits, in one line."""

from ...common.sizes import amount
from .report import DevicePeak, MemoryReport
from .tensor_owners import STREAMED

REMEDY = (
    "If VRAM runs out: in Offload Control, set VRAM budget to about half of your card (4 for 8 GB), then to a smaller "
    "number."
)
# GB of cards as they are sold, which are 1024^3 bytes each; a driver keeps a part of it to itself
SOLD = (2, 3, 4, 5, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 80, 96, 141)
SOLD_UNIT = 1024**3


def verdict(report: MemoryReport) -> tuple[str, str]:
    """(like "Fits: 11.2 GB of 12.9 GB VRAM (12 GB card), 9.1 GB of 34.2 GB RAM at the peak.", what to do or ""); of
    several devices the fullest."""
    process = report.peak.process
    ram = f"{amount(process.peak)} of {amount(process.total)}"
    if not report.peak.devices:
        return f"RAM: {ram} at the peak.", ""
    pages = sum(part.held[STREAMED].device for part in report.components if STREAMED in part.held)
    device = max(report.peak.devices, key=lambda found: found.reserved / max(found.total, 1))
    words = (
        f"{amount(_used(device, pages))} of {amount(device.total)} VRAM{_card(device.total)}, {ram} RAM at the peak."
    )
    full = _used(device, pages) > device.total - device.spare
    return (f"Full: {words}", REMEDY) if full else (f"Fits: {words}", "")


def _card(total: int) -> str:
    """total: bytes. What its box says, which is a smaller number than that of 1000^3 bytes; "" if none is as large."""
    sold = next((size for size in SOLD if size * SOLD_UNIT >= total), None)
    return f" ({sold} GB card)" if sold else ""


def _used(device: DevicePeak, pages: int) -> int:
    """pages: of dynamic VRAM, which PyTorch does not count. They are those of now, so the sum may be too large."""
    return min(device.reserved + pages, device.total)
