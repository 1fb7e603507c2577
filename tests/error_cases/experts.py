"""Two experts that are no pair, or one without the other."""

from x2v_quant.checkpoints.expert_names import HIGH, LOW, SUBFOLDERS
from x2v_quant.demo import assets

from .case import ErrorCase, node
from .place import Place, demo

INT8 = assets.names("int8").t2v
NODE = "X2VLoadExperts"
HIGH_FILE, LOW_FILE = "a_high_noise.safetensors", "a_low_noise.safetensors"


def experts(high: str, low: str = "auto"):
    return {
        "load": node(NODE, high_noise=high, low_noise=low),
        "report": node("X2VKernelReport", model=["load", 0]),
    }


def pair(high: str, low: str, *words: str, other: str = "t2v") -> ErrorCase:
    """A high- and a low-noise file, picked as `high` and `low`. other: which of the demo's is the low-noise one."""

    def make(place: Place):
        place.put("diffusion_models", HIGH_FILE, demo("t2v"))
        place.put("diffusion_models", LOW_FILE, demo(other))
        return experts(place.named(high), place.named(low))

    return ErrorCase(NODE, make, words)


def without_other(place: Place):
    return experts(place.put("diffusion_models", HIGH_FILE, demo("t2v")))


def crowded(place: Place):
    for expert, names in ((HIGH, ("a", "b")), (LOW, ("a",))):
        for name in names:
            place.put("diffusion_models", f"{SUBFOLDERS[expert]}/{name}.safetensors", demo("t2v"))
    return experts(place.named(""))


CASES = {
    "the same": pair(
        HIGH_FILE, HIGH_FILE, f"{HIGH_FILE} is picked as both experts. Pick the low-noise file as the second."
    ),
    "swapped": pair(
        LOW_FILE, HIGH_FILE, f"{LOW_FILE} and {HIGH_FILE} are swapped: the first has to be the high-noise expert."
    ),
    "no pair": pair(
        HIGH_FILE,
        LOW_FILE,
        f"{HIGH_FILE} is Wan 2.1 t2v, {LOW_FILE} is Wan 2.1 i2v: they are no pair. Pick two of one model.",
        other="i2v",
    ),
    "alone": ErrorCase(
        NODE,
        lambda place: experts(INT8),
        (f"The low-noise expert of '{INT8}' is not found. Pick it as low_noise.",),
    ),
    "without its other": ErrorCase(
        NODE,
        without_other,
        (f"{HIGH_FILE}' is not found: there is no '", f"{LOW_FILE}' in ComfyUI's diffusion_models folder. Pick it as"),
    ),
    "two in a folder": ErrorCase(
        NODE,
        crowded,
        ("high_noise_model/ has to hold one model and holds 2 (a.safetensors, b.safetensors). Pick two files",),
    ),
}
