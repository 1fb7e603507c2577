"""Reads the scene off a video by its pixels alone: the measured check that a prompt decided the result."""

from dataclasses import dataclass

import torch

from .scenes import COLOURS, DIRECTIONS, SHAPES, Scene, coverage

MIN_CONTRAST = 0.25  # between object and background, in RGB of 0 to 1
MIN_RADIUS, MAX_RADIUS = 5.0, 18.0  # pixels, of the circle of equal area
MIN_WAY = 4.0  # pixels between the first and the last frame
MIN_OVERLAP = 0.6  # intersection over union with the nearest shape
BRIGHTEST = 0.02  # share of the pixels that the object's colour is first taken from
SHIFTS = (-1.0, -0.5, 0.0, 0.5, 1.0)  # pixels about the centre of mass where a shape is tried


@dataclass(frozen=True)
class Reading:
    """What was recognised; None where nothing is clear enough."""

    colour: str | None = None
    shape: str | None = None
    direction: str | None = None

    def matches(self, scene: Scene) -> dict[str, bool]:
        """{"colour", "shape", "direction"} -> right or not."""
        return {name: getattr(self, name) == getattr(scene, name) for name in ("colour", "shape", "direction")}


def read(video: torch.Tensor) -> Reading:
    """video [frames, height, width, 3] in 0 to 1, of any side that the scenes' 64 divides, as ComfyUI's IMAGE."""
    video = video.float().clamp(0, 1)
    scale = video.shape[2] / 64
    background = _border(video).median(dim=0).values
    offset = video - background
    distance = offset.norm(dim=-1)
    brightest = distance.flatten().topk(max(1, int(BRIGHTEST * distance.numel()))).indices
    colour = offset.reshape(-1, 3)[brightest].mean(dim=0)
    if colour.norm() < MIN_CONTRAST:
        return Reading()
    solid = offset @ colour / colour.square().sum() > 0.5
    if not solid.flatten(1).any(1).all():
        return Reading()
    colour = video[solid].mean(dim=0)
    named = min(COLOURS, key=lambda name: (colour - torch.tensor(COLOURS[name])).norm())
    return Reading(named, _shape(solid, scale), _direction(solid, scale))


def _border(video: torch.Tensor) -> torch.Tensor:
    """The outermost pixels of all frames, [pixels, 3]."""
    edges = video[:, [0, -1]], video[:, :, [0, -1]]
    return torch.cat([edge.reshape(-1, 3) for edge in edges])


def _centres(solid: torch.Tensor) -> torch.Tensor:
    """Centre of mass of each frame's object, [frames, 2] as (x, y)."""
    return torch.stack([frame.nonzero().float().mean(dim=0).flip(0) for frame in solid])


def _direction(solid: torch.Tensor, scale: float) -> str | None:
    centres = _centres(solid)
    way = (centres[-1] - centres[0]) / scale
    if way.norm() < MIN_WAY:
        return None
    return max(DIRECTIONS, key=lambda name: float(way @ torch.tensor(DIRECTIONS[name]).float()))


def _shape(solid: torch.Tensor, scale: float) -> str | None:
    """The shape whose drawing, of the same area and about the same centre, overlaps most over all frames."""
    radii = (solid.flatten(1).sum(1) / torch.pi).sqrt()
    if not MIN_RADIUS <= float(radii.mean()) / scale <= MAX_RADIUS:
        return None
    overlaps = {shape: _overlap(shape, solid.float(), _centres(solid), radii) for shape in SHAPES}
    best = max(overlaps, key=overlaps.get)
    return best if overlaps[best] >= MIN_OVERLAP else None


def _overlap(shape: str, masks: torch.Tensor, centres: torch.Tensor, radii: torch.Tensor) -> float:
    """Intersection over union, the best over SHIFTS for each frame, then the mean over the frames."""
    frames, height, width = masks.shape
    shift = torch.tensor(SHIFTS)
    x = torch.arange(width) - (centres[:, 0, None] + shift)[..., None]  # [frames, shifts, width]
    y = torch.arange(height) - (centres[:, 1, None] + shift)[..., None]
    drawn = coverage(shape, x[:, :, None, None, :], y[:, None, :, :, None], radii.reshape(frames, 1, 1, 1, 1))
    masks = masks[:, None, None]
    both, either = torch.minimum(drawn, masks).sum((-2, -1)), torch.maximum(drawn, masks).sum((-2, -1))
    return float((both / either).flatten(1).amax(1).mean())
