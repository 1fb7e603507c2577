"""The recordings that the node Calibrate returns, and whether ComfyUI's cache still holds them.

The cache may drop a recording but keep the latents that were sampled with it. Calibrate would then return an empty one,
and nothing would sample again. So Calibrate's cache key changes when its recording is gone, and its nodes run anew.
"""

import uuid
import weakref
from dataclasses import dataclass

from .calibration import Calibration

# node id -> its part of the cache key; node id -> its last recording while that exists
_tokens: dict[str, str] = {}
_recordings: weakref.WeakValueDictionary[str, "Recording"] = weakref.WeakValueDictionary()


@dataclass(eq=False)
class Recording:
    """A calibration that is filled while samplers run. Only the cache refers to this object; the sampled model refers
    to the calibration."""

    calibration: Calibration


def record(node_id: str, calibration: Calibration) -> Recording:
    """Make and remember the recording that the node returns now."""
    recording = _recordings[node_id] = Recording(calibration)
    return recording


def token(node_id: str) -> str:
    """A cache key: the same text while the node's last recording exists, else a new one."""
    if node_id not in _recordings or node_id not in _tokens:
        _tokens[node_id] = uuid.uuid4().hex
    return _tokens[node_id]
