"""A memory report's verdict: whether the run fits, in one line."""

from ...common.sizes import amount
from .report import DevicePeak, MemoryReport
from .tensor_owners import STREAMED

REMEDY = "If it is slow or runs out of memory: Offload Control, mode block, or a lower VRAM budget there."


def verdict(report: MemoryReport) -> tuple[str, str]:
    """(like "Fits: 11.2 GB of 12.9 GB VRAM at the peak.", what to do or ""); of several devices the fullest."""
    process = report.peak.process
    ram = f"{amount(process.peak)} of {amount(process.total)}"
    if not report.peak.devices:
        return f"RAM: {ram} at the peak.", ""
    pages = sum(part.held[STREAMED].device for part in report.components if STREAMED in part.held)
    device = max(report.peak.devices, key=lambda found: found.reserved / max(found.total, 1))
    words = f"{amount(_used(device, pages))} of {amount(device.total)} VRAM, {ram} RAM at the peak."
    full = _used(device, pages) > device.total - device.spare
    return (f"Full: {words}", REMEDY) if full else (f"Fits: {words}", "")


def _used(device: DevicePeak, pages: int) -> int:
    """pages: of dynamic VRAM, which PyTorch does not count. They are those of now, so the sum may be too large."""
    return min(device.reserved + pages, device.total)
