"""The formats of a model, best first for a machine."""

from dataclasses import asdict, dataclass

from ..kernels import choose
from ..kernels.machine import Machine
from . import loss
from .footprint import DTYPE, Footprint
from .gpus import Gpu
from .placing import Place, Room, place
from .roofline import Rates, multiplied_as, rates_of, seconds

# a format that is this many points further off 16 bits has to be twice as fast to be as good
POINTS = 25
PLAIN = "16 bits"
# of Quantization Scheme, and the loaders of ComfyUI for 16 bits
SCHEME, COMFYUI = "auto", "ComfyUI"


@dataclass(frozen=True)
class Advice:
    """One format. `kernel`: what `auto` computes it by, `activation`: what that multiplies, "float" where weights alone
    are small. `weights`: bytes. `seconds`: of one call of the model, `gain`: how many times as fast as 16 bits, both
    estimated. `cost`: what is ranked by, less is better."""

    format: str
    scheme: str
    kernel: str
    activation: str
    weights: int
    place: Place
    loss: loss.Loss
    seconds: float
    gain: float
    cost: float

    @property
    def weights_only(self) -> bool:
        return self.format != PLAIN and self.activation == "float"

    def as_data(self) -> dict:
        return {**asdict(self), "fits": self.place.fits, "weights_only": self.weights_only}


def ranked(model: Footprint, machine: Machine, gpu: Gpu | None, room: Room) -> list[Advice]:
    """Those that fit first, the least cost first; 16 bits is one of them."""
    rates = rates_of(gpu)
    plain = _advice(model, None, machine, room, rates, None)
    rows = [plain, *(_advice(model, name, machine, room, rates, plain.seconds) for name in loss.FORMATS)]
    return sorted(rows, key=lambda row: (not row.place.fits, row.cost))


def _advice(
    model: Footprint, name: str | None, machine: Machine, room: Room, rates: Rates, plain: float | None
) -> Advice:
    """name: None for 16 bits. plain: the seconds of those."""
    formats = model.formats(name)
    kernel = None if name is None else choose(name, machine, dtype=DTYPE).kernel
    activation = "float" if kernel is None else multiplied_as(kernel.activation)
    weight = model.weights(formats)
    placed = place(weight, model.activations + model.reserve, room, model.experts)
    lost = loss.NONE if name is None else loss.loss_of(name, activation == "float")
    time = seconds(model, formats, activation, placed, rates)
    return Advice(
        format=name or PLAIN,
        scheme=SCHEME if kernel else "",
        kernel=kernel.name if kernel else COMFYUI,
        activation=activation,
        weights=weight.total,
        place=placed,
        loss=lost,
        seconds=time,
        gain=(plain or time) / time,
        cost=time * (1 + lost.percent / POINTS),
    )
