"""The settings of Offload Control: where weights are while they are not computed with."""

from dataclasses import dataclass

from ...common.printable import PrintableError

AUTO, MODEL, BLOCK, PHASE, DISK = "auto", "model", "block", "phase", "disk"

# auto: ComfyUI decides; model: the whole model on the GPU while it samples; block, phase: the next block, or phase of a
# block, is fetched while one computes; disk: weights stay in the file
MODES = (AUTO, MODEL, BLOCK, PHASE, DISK)
# modes of text and vision encoders: they run once, so there is nothing to fetch ahead
ENCODER_MODES = (AUTO, MODEL, DISK)


class OffloadError(PrintableError, ValueError):
    """A setting of Offload Control that is not possible."""


@dataclass(frozen=True)
class OffloadSettings:
    """`mode`: one of MODES. `budget_gb`: limit in GB (1e9 bytes) of VRAM for weights, None for no limit. `prefetch`:
    number of blocks that are fetched ahead. `pinned`: whether offloaded weights lie in page-locked RAM. `t5`, `clip`:
    modes of the encoders, from ENCODER_MODES. Raises OffloadError for other values."""

    mode: str = AUTO
    budget_gb: float | None = None
    prefetch: int = 1
    pinned: bool = True
    t5: str = AUTO
    clip: str = AUTO

    def __post_init__(self):
        _require(self.mode, MODES, "mode")
        _require(self.t5, ENCODER_MODES, "t5")
        _require(self.clip, ENCODER_MODES, "clip")
        if self.budget_gb is not None and not self.budget_gb > 0:
            raise OffloadError(f"A VRAM budget of {self.budget_gb} GB is too small. Set it to 0 for no limit.")
        if self.prefetch < 0:
            raise OffloadError(
                f"prefetch is {self.prefetch}, but it is a number of blocks. Set it to 1, or to 0 to fetch none ahead."
            )

    @property
    def budget(self) -> int | None:
        """The budget in bytes."""
        return None if self.budget_gb is None else int(self.budget_gb * 1e9)

    @property
    def is_auto(self) -> bool:
        """Whether everything is left to ComfyUI."""
        return self.mode == AUTO and self.budget_gb is None and self.pinned

    def encoder(self, kind: str) -> "OffloadSettings":
        """The settings of an encoder. kind: "t5" or "clip"."""
        return OffloadSettings(mode=getattr(self, kind), pinned=self.pinned)


def _require(value: str, known, field: str) -> None:
    if value not in known:
        raise OffloadError(f"There is no offload {field} {value!r}. Choose one of {', '.join(known)}.")
