"""What LightX2V's engine calls the tensors of a diffusion model that a file has under ComfyUI's names."""

from dataclasses import dataclass

from .checkpoint import Checkpoint
from .names import Target, targets

SAME = "same"


@dataclass(frozen=True)
class Naming:
    """`table`: from ComfyUI's names to LightX2V's, a key of names.RULES. `prefix`: before every name of a file.
    `square`: each share of a weight that LightX2V has apart is as high as wide."""

    table: str = SAME
    prefix: str = ""
    square: bool = True


# model, as kinds.py says it -> its naming; the names of all others are the same
NAMINGS = {
    "Z-Image": Naming("to z-image"),
    "HunyuanVideo": Naming("to hunyuan-video"),
    "HunyuanVideo 1.5": Naming("to hunyuan-video 1.5"),
    "Flux": Naming("to flux"),
    "Flux.2": Naming("to flux 2"),
    "LongCat-Image": Naming("to longcat"),
    "LTX-2": Naming(prefix="model.diffusion_model."),
    # its heads together are wider than the model
    "MiniMax-H3": Naming("to minimax-h3", square=False),
}


def naming(model: str) -> Naming:
    return NAMINGS.get(model, Naming())


def lightx2v_targets(checkpoint: Checkpoint, name: str) -> tuple[str, list[Target]]:
    """The name of a tensor of `checkpoint`, without its prefix -> (ComfyUI's name, where it goes in LightX2V's file).
    What has LightX2V's name stays."""
    table = naming(checkpoint.model).table
    ours = targets(checkpoint.family.joins or SAME, name) if table != SAME else []
    if len(ours) != 1 or ours[0].pieces > 1:
        return name, [Target(name)]
    return ours[0].name, targets(table, ours[0].name)


def is_cut_evenly(shape: tuple[int, ...], found: list[Target], square: bool) -> bool:
    """Whether a tensor of this shape can be what goes to `found`, nowhere if that is empty. square: as in Naming."""
    parts = found[0].parts if found else 1
    as_high = not square or len(shape) != 2 or shape[0] == parts * shape[1]
    return parts == 1 or (shape[0] % parts == 0 and as_high)
