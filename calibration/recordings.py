"""What the node Calibrate hands out, and whether ComfyUI's cache still holds it.

The cache may drop a recording and keep the latents that were sampled with it. Calibrate would then hand out an empty
one and nothing would sample again: so a recording that is gone makes whatever depends on its node run anew.
"""

import uuid
import weakref
from dataclasses import dataclass

from .calibration import Calibration

# node id -> what stands for the recordings of this node in the cache's keys, and the last of them while it is there
_tokens: dict[str, str] = {}
_held: weakref.WeakValueDictionary[str, "Recording"] = weakref.WeakValueDictionary()


@dataclass(eq=False)
class Recording:
    """A calibration that is filled while samplers run. The cache alone refers to it: the model that is sampled with
    knows the calibration only."""

    calibration: Calibration


def record(node_id: str, calibration: Calibration) -> Recording:
    """The recording that the node hands out now."""
    recording = _held[node_id] = Recording(calibration)
    return recording


def token(node_id: str) -> str:
    """The same text while the node's last recording exists, else one that was never given."""
    if node_id not in _held or node_id not in _tokens:
        _tokens[node_id] = uuid.uuid4().hex
    return _tokens[node_id]
