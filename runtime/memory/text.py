"""A memory report as text."""

from ...common.sizes import amount
from .report import RESIDENCIES, Component, MemoryReport, MemoryUse
from .tensor_owners import ORIGINALS, STREAMED, WEIGHTS
from .verdict import verdict

STREAMING = (
    "ComfyUI's dynamic VRAM copies weights and keeps the originals: both are counted. Its copies on the device are not "
    "PyTorch's and come on top of the peak there."
)
# owners whose names in the data say too little
NAMES = {ORIGINALS: "copies for removing a LoRA", STREAMED: "copies made by dynamic VRAM"}


def describe(report: MemoryReport) -> str:
    """The verdict, then the whole report; GB, MB and kB are powers of 1000 bytes."""
    lines = [" ".join(filter(None, verdict(report))), ""]
    lines += [line for component in report.components for line in (*_component(component), "")]
    if len(report.components) > 1:
        lines += ["Together:", f"- {amounts(report.everything)}", ""]
    if any(component.streamed for component in report.components):
        lines += [STREAMING, ""]
    return "\n".join([*lines, "Peaks:", *(f"- {line}" for line in peaks(report))])


def amounts(held: MemoryUse) -> str:
    """The nonzero amounts with where they are, like "1.2 GB on the device, 300 MB RAM"."""
    found = [f"{amount(getattr(held, where))} {name}" for where, name in RESIDENCIES.items() if getattr(held, where)]
    return ", ".join(found) or "nothing"


def _component(component: Component) -> list[str]:
    share = f"{component.size / component.bf16:.0%} of" if component.bf16 else "of"
    lines = [
        f"{component.name}:",
        f"- {amount(component.size)} of weights, {share} the {amount(component.bf16)} that it would take in bf16",
    ]
    if component.elsewhere:
        lines.append(f"- {amount(component.elsewhere)} of them are shared and counted above")
    for owner, held in component.held.items():
        if held.total:
            lines.append(f"- {amounts(held)}" if owner == WEIGHTS else f"- {NAMES.get(owner, owner)}: {amounts(held)}")
    return lines


def peaks(report: MemoryReport) -> list[str]:
    """A line per device, and one for the process."""
    peak, process = report.peak, report.peak.process
    lines = [
        f"{device.device}: {amount(device.allocated)} allocated and {amount(device.reserved)} reserved by PyTorch, "
        + peak.since
        for device in peak.devices
    ]
    lines.append(f"process: {amount(process.peak)} resident, {process.since}")
    if process.own is not None:
        lines[-1] += f"; now {amount(process.own)} of its own, {amount(process.files)} of mapped files"
    return lines
