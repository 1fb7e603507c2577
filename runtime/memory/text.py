"""A report in words."""

from ...common.sizes import amount
from .report import PLACES, Component, Held, MemoryReport
from .tensor_owners import WEIGHTS

STREAMING = (
    "ComfyUI's dynamic VRAM copies weights and leaves them where they were: they count in both places. Its pages on "
    "the device are not PyTorch's and come on top of the peak there."
)


def describe(report: MemoryReport) -> str:
    """Lines for a person; GB, MB and kB are powers of 1000 bytes."""
    lines = [line for component in report.components for line in (*_component(component), "")]
    if len(report.components) > 1:
        lines += ["Together:", f"- {places(report.everything)}", ""]
    if any(component.streamed for component in report.components):
        lines += [STREAMING, ""]
    return "\n".join([*lines, "Peaks:", *(f"- {line}" for line in peaks(report))])


def places(held: Held) -> str:
    """Where bytes are, without the places that have none."""
    found = [f"{amount(getattr(held, place))} {name}" for place, name in PLACES.items() if getattr(held, place)]
    return ", ".join(found) or "nothing"


def _component(component: Component) -> list[str]:
    share = f"{component.size / component.bf16:.0%} of" if component.bf16 else "of"
    lines = [
        f"{component.name}:",
        f"- {amount(component.size)} of weights, {share} the {amount(component.bf16)} that it would have in bf16",
    ]
    if component.elsewhere:
        lines.append(f"- {amount(component.elsewhere)} of them are shared and counted above")
    for holder, held in component.held.items():
        if held.total:
            lines.append(f"- {places(held)}" if holder == WEIGHTS else f"- {holder}: {places(held)}")
    return lines


def peaks(report: MemoryReport) -> list[str]:
    """A line for each memory."""
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
