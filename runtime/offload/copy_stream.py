"""How bytes get to a device beside its computing: CUDA's streams and events, or at once where there are none."""

import torch


class CudaLane:
    """A stream of its own. Nothing here makes the host wait for the device."""

    def __init__(self, device: torch.device):
        self._device = device
        self._stream = torch.cuda.Stream(device=device)

    def copy(self, source: torch.Tensor, target: torch.Tensor, after: object | None) -> torch.cuda.Event:
        """Begin to copy once `after` (what `mark` gave) has happened -> what `wait` waits for."""
        if after is not None:
            self._stream.wait_event(after)
        with torch.cuda.stream(self._stream):
            target.copy_(source, non_blocking=True)
            done = torch.cuda.Event()
            done.record(self._stream)
        return done

    def wait(self, done: torch.cuda.Event) -> None:
        """What is computed from now on comes after the copy."""
        torch.cuda.current_stream(self._device).wait_event(done)

    def mark(self) -> torch.cuda.Event:
        """What has been asked of the device so far."""
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self._device))
        return event

    def finish(self, done: torch.cuda.Event) -> None:
        """The host waits for a copy: its source may be overwritten."""
        done.synchronize()

    def allocate(self, count: int) -> torch.Tensor:
        """uint8 [count] on the device, which this lane's stream writes and the computing one reads."""
        with torch.cuda.stream(self._stream):
            buffer = torch.empty(count, dtype=torch.uint8, device=self._device)
        buffer.record_stream(torch.cuda.current_stream(self._device))
        return buffer


class HostLane:
    """For devices that compute in the order in which they are asked."""

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


def lane(device: torch.device) -> CudaLane | HostLane:
    """The one for a device."""
    return CudaLane(device) if device.type == "cuda" else HostLane(device)
