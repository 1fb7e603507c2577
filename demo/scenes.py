"""What the demo model knows: plain videos of one coloured shape that moves in one direction, and their captions."""

from dataclasses import dataclass
from itertools import product

import torch

SIDE, FRAMES = 64, 9
SHAPES = ("circle", "square", "triangle")
COLOURS = {
    "red": (0.9, 0.15, 0.15),
    "green": (0.15, 0.8, 0.2),
    "blue": (0.2, 0.3, 0.95),
    "yellow": (0.95, 0.9, 0.2),
    "purple": (0.8, 0.25, 0.9),
    "cyan": (0.2, 0.85, 0.9),
}
# pixels to the right and down
DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}

# pixels: the radius of a circle of the shape's area, and the way from one frame to the next
RADIUS = (10.0, 12.0)
SPEED = (1.9, 2.5)
BACKGROUND = (0.0, 0.25)  # grey
# half a square's side and the inradius of a triangle, for radius 1 of the circle of equal area
SQUARE_HALF_SIDE = (torch.pi / 4) ** 0.5
TRIANGLE_INRADIUS = (torch.pi / (3 * 3**0.5)) ** 0.5
# outward normals of an upright triangle's sides
TRIANGLE_NORMALS = ((0.0, 1.0), (-(3**0.5) / 2, -0.5), (3**0.5 / 2, -0.5))
# furthest points of the three shapes from their centre, left or right, up and down
REACH = 1.36, 1.56


# The first is what the demo asks for; a model that has seen them all does not hang on the wording.
CAPTIONS = (
    "a {colour} {shape} moving {direction}",
    "A {colour} {shape} moving {direction}",
    "{colour} {shape} moving {direction}",
    "a {colour} {shape} that moves {direction}",
    "a {shape} moving {direction}, {colour}",
)


@dataclass(frozen=True)
class Scene:
    """A key of COLOURS, one of SHAPES and a key of DIRECTIONS."""

    colour: str
    shape: str
    direction: str

    @property
    def caption(self) -> str:
        return self.captions[0]

    @property
    def captions(self) -> list[str]:
        """The same scene in each of CAPTIONS."""
        return [caption.format_map(vars(self)) for caption in CAPTIONS]


SCENES = tuple(Scene(*words) for words in product(COLOURS, SHAPES, DIRECTIONS))
# One in six: every colour twice, every shape four times and every direction three times.
HELD_OUT = tuple(
    Scene(colour, SHAPES[(i + j) % 3], tuple(DIRECTIONS)[(i + 2 * j) % 4])
    for i, colour in enumerate(COLOURS)
    for j in range(2)
)
TRAINING = tuple(scene for scene in SCENES if scene not in HELD_OUT)


def coverage(shape: str, x: torch.Tensor, y: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Share of each pixel that the shape covers, for pixels x to the right of and y below the shape's centre.

    radius: of the circle of equal area. All broadcast together.
    """
    if shape == "circle":
        outside = (x.square() + y.square()).sqrt() - radius
    elif shape == "square":
        outside = torch.maximum(x.abs(), y.abs()) - radius * SQUARE_HALF_SIDE
    else:
        sides = torch.stack([x * across + y * down for across, down in TRIANGLE_NORMALS])
        outside = sides.amax(0) - radius * TRIANGLE_INRADIUS
    return (0.5 - outside).clamp(0, 1)


def render(scenes: list[Scene], generator: torch.Generator, spread: float = 1.0) -> torch.Tensor:
    """Videos [scenes, FRAMES, SIDE, SIDE, 3] in 0 to 1; size, speed, place, shade and background are random.

    spread: how far they range, from 0, the middle of everything, to 1, as far as there is room.
    """

    def uniform(low: float, high: float) -> torch.Tensor:
        part = 0.5 * (1 - spread) + spread * torch.rand((len(scenes), 1, 1, 1), generator=generator)
        return low + (high - low) * part

    radius, speed, grey, shade = (uniform(*span) for span in (RADIUS, SPEED, BACKGROUND, (0.92, 1.0)))
    steps = torch.arange(FRAMES).reshape(1, FRAMES, 1, 1) - (FRAMES - 1) / 2
    centres = []
    for axis in range(2):
        way = torch.tensor([DIRECTIONS[scene.direction][axis] for scene in scenes]).reshape(-1, 1, 1, 1) * speed
        room = (SIDE - 1) / 2 - REACH[axis] * radius - way.abs() * (FRAMES - 1) / 2
        centres.append((SIDE - 1) / 2 + room.clamp(min=0) * uniform(-1, 1) + way * steps)
    pixels = torch.arange(SIDE)
    x, y = pixels.reshape(1, 1, 1, SIDE) - centres[0], pixels.reshape(1, 1, SIDE, 1) - centres[1]
    masks = torch.stack([coverage(s.shape, x[i], y[i], radius[i]) for i, s in enumerate(scenes)]).unsqueeze(-1)
    colours = torch.tensor([COLOURS[scene.colour] for scene in scenes]).reshape(-1, 1, 1, 1, 3)
    grey, shade = grey.unsqueeze(-1), shade.unsqueeze(-1)
    return masks * colours * shade + (1 - masks) * grey
