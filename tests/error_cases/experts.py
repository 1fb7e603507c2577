"""Two experts that are no pair, or one without the other."""

from x2v_quant.checkpoints.expert_names import HIGH, LOW, SUBFOLDERS
from x2v_quant.demo import assets

from .case import ErrorCase, linked, node
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
    return by_link(experts(place.put("diffusion_models", HIGH_FILE, demo("t2v"))))


def crowded(place: Place):
    for expert, names in ((HIGH, ("a", "b")), (LOW, ("a",))):
        for name in names:
            place.put("diffusion_models", f"{SUBFOLDERS[expert]}/{name}.safetensors", demo("t2v"))
    return by_link(experts(place.named("")))


def by_link(prompt):
    """low_noise comes over a link: the pair is looked for when the node runs."""
    return linked(prompt, "load", "low_noise", "auto")


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
        (f"The name of {INT8} does not say which file is its low-noise expert. Pick that one as low-noise file.",),
        early=True,
    ),
    "alone, linked": ErrorCase(
        NODE, lambda place: by_link(experts(INT8)), (f"The name of {INT8} does not say which file is its low-noise",)
    ),
    "without its other": ErrorCase(
        NODE,
        without_other,
        (f"{HIGH_FILE} is missing: ", f"{LOW_FILE} is not in models/diffusion_models. Download it there and press R"),
    ),
    "two in a folder": ErrorCase(
        NODE,
        crowded,
        ("high_noise_model/ has 2 models (a.safetensors, b.safetensors), but should have one. Pick two files",),
    ),
}
