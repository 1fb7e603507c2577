"""Copies to a device while it computes: a CUDA stream, or plain copies on other devices."""

import torch


class CudaCopyStream:
    """Copies on a CUDA stream of its own. Only `finish` makes the host wait for the device."""

    def __init__(self, device: torch.device):
        self._device = device
        self._stream = torch.cuda.Stream(device=device)

    def copy(self, source: torch.Tensor, target: torch.Tensor, after: object | None) -> torch.cuda.Event:
        """Start a copy that runs after the event `after` (from `mark`). Returns the event of its end, for `wait`."""
        if after is not None:
            self._stream.wait_event(after)
        with torch.cuda.stream(self._stream):
            target.copy_(source, non_blocking=True)
            done = torch.cuda.Event()
            done.record(self._stream)
        return done

    def wait(self, done: torch.cuda.Event) -> None:
        """Make the computing stream wait for a copy."""
        torch.cuda.current_stream(self._device).wait_event(done)

    def mark(self) -> torch.cuda.Event:
        """An event after everything that was launched on the computing stream so far."""
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self._device))
        return event

    def finish(self, done: torch.cuda.Event) -> None:
        """Block the host until a copy is done; then its source may be overwritten."""
        done.synchronize()

    def allocate(self, count: int) -> torch.Tensor:
        """uint8 [count] on the device, written by this stream and read by the computing one."""
        with torch.cuda.stream(self._stream):
            buffer = torch.empty(count, dtype=torch.uint8, device=self._device)
        buffer.record_stream(torch.cuda.current_stream(self._device))
        return buffer


class HostCopyStream:
    """The same interface for devices that run everything in launch order: copies at once, nothing to wait for."""

    def __init__(self, device: torch.device):
        self._device = device

    def copy(self, source: torch.Tensor, target: torch.Tensor, after: object | None) -> None:
        target.copy_(source)

    def wait(self, done: None) -> None:
        pass

    def mark(self) -> None:
        pass

    def finish(self, done: None) -> None:
        pass

    def allocate(self, count: int) -> torch.Tensor:
        return torch.empty(count, dtype=torch.uint8, device=self._device)


def copy_stream(device: torch.device) -> CudaCopyStream | HostCopyStream:
    """The kind of copy stream that the device has."""
    return CudaCopyStream(device) if device.type == "cuda" else HostCopyStream(device)
