"""Who takes part: every format and kernel of this pack that runs here, and what else a user could load."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from ...formats import FORMATS, SMOOTHED, SMOOTHQUANT, UNSMOOTHED, family
from ...kernels import choose, survey
from ...kernels.machine import Machine
from ...rounding import METHODS, method_for
from ...rounding.methods import TOKENS
from ...schemes import AUTO, DIT, resolve, schemes_for
from . import ggml
from .peers import CORE_FORMATS, GGUF_FORMATS, readable

OURS, CORE, GGUF = "ours", "core", "gguf"
ORIGINAL = "bf16"
# text encoders that are quantized together with the diffusion model, by the format of both
TEXT_TOO = {"int8-channel": "int8", "fp8-channel": "fp8"}

# computes what core's own layer does: core's row has its figures
AS_CORE = "comfyui"
# formats that a file holds as such, then what a calibration makes of them; of rotated ones the group is found for each
# layer
PLAIN = tuple(name for name, row in FORMATS.items() if not row.smooth and (not row.settings or row.family == name))
FILES = (*PLAIN, *(SMOOTHED[name] for name in SMOOTHQUANT if FORMATS[name].family == name))
# format -> the ways of rounding that are measured beside the nearest, for kernels of ROUNDED_KERNELS
ROUNDED = {
    "int8-channel": ("gptq",),
    "int8-channel-smooth": ("gptq",),
    "int8-convrot": ("gptq",),
    "int8-convrot-smooth": ("gptq",),
    "fp8-channel": ("gptq",),
    "w4a8": ("gptq",),
    "int4-g128": ("mse", "gptq"),
    "int4-g128-smooth": ("awq",),
    "int4-g128-convrot": ("mse", "gptq"),
    "awq-w4a16": ("mse", "gptq"),
    "nvfp4": ("gptq",),
    "mxfp4": ("gptq",),
    "mxfp6": ("gptq",),
}
# the weights alone, and what a GPU's kernels do with activations too
ROUNDED_KERNELS = ("dequant", "reference")
WORDS = {"mse": "MSE", "gptq": "GPTQ", "awq": "AWQ"}


@dataclass(frozen=True)
class Contestant:
    """One row of the result. `loader`: a key of loaders.LOADERS; `file`: a key of files.WRITERS, a smoothed format, or
    "bf16" for the original; `stored`: what every quantized layer must turn out to be once loaded (see layers.stored),
    "" where that is up to the loader or to a calibration; `scheme`: for our loader; `dtype`: core casts weights to it
    at load, and `compute` is the dtype of activations, both "" for core's own choice; `text`: the file of the text
    encoder; `auto`: the kernel is the one that `auto` picks; `kernel`: of our rows; `rounding`: a key of
    rounding.METHODS, "" as the format's own writers round."""

    name: str
    loader: str
    file: str
    stored: str
    scheme: str = ""
    dtype: str = ""
    compute: str = ""
    text: str = ORIGINAL
    auto: bool = False
    kernel: str = ""
    rounding: str = ""


BASELINE = Contestant("ComfyUI bf16", CORE, ORIGINAL, "")
CORE_ROWS = (
    # how much of every distance is the rounding of 16-bit activations, which a CPU's baseline does without
    Contestant("ComfyUI bf16, bf16 activations", CORE, ORIGINAL, "bfloat16", dtype="bfloat16", compute="bfloat16"),
    Contestant("ComfyUI bf16 cast to fp8 at load", CORE, ORIGINAL, "float8_e4m3fn", dtype="float8_e4m3fn"),
    *(Contestant(name, CORE, name, row.layout) for name, row in CORE_FORMATS.items()),
)
GGUF_ROWS = tuple(Contestant(name, GGUF, name, row.type) for name, row in GGUF_FORMATS.items())
GGUF_MISSING = "The rows of ComfyUI-GGUF need the folder of that pack: --gguf PATH, and `pip install gguf`."


def contestants(machine: Machine, compute: torch.dtype, gguf: bool) -> list[Contestant]:
    """The baseline, then ours, core's and, if the pack is there, GGUF's: what runs here. compute: the dtype of our
    activations."""
    absent = missing(gguf)
    return [row for row in (BASELINE, *ours(machine, compute), *CORE_ROWS, *GGUF_ROWS) if row.name not in absent]


def missing(gguf: bool) -> dict[str, str]:
    """Peers that cannot take part here: name -> why, in a sentence. gguf: whether the pack ComfyUI-GGUF is there."""
    absent = {}
    for name, core in CORE_FORMATS.items():
        if not readable(core):
            absent[name] = f"{name} is left out: this ComfyUI cannot load it ({core.marker}), a newer one can."
    for name, row in GGUF_FORMATS.items():
        if not gguf:
            absent[name] = GGUF_MISSING
        elif row.needs_ggml and ggml.find() is None:
            absent[name] = ggml.MISSING
    return absent


def ours(machine: Machine, compute: torch.dtype) -> list[Contestant]:
    """A row per format and kernel that runs on `machine` and that a scheme reaches, then those with a quantized text
    encoder on the kernel that `auto` picks. Of the smoothed formats those that files have."""
    rows, found = [], ways(FORMATS)
    for format_name in (*FILES, *(name for name in found if name not in FILES)):
        for kernel, reason in survey(format_name, machine, dtype=compute).items():
            scheme = scheme_of(format_name, kernel, machine, compute)
            if reason is None and scheme is not None and kernel != AS_CORE:
                rows.append(_row(format_name, kernel, scheme, machine, compute))
    nearest = [row for row in rows if row.file in FILES]
    both = [row for row in nearest if row.auto and row.file in TEXT_TOO]
    rounded = [_rounded(row, rounding) for row in rows if _differs(row) for rounding in found.get(row.file, ())]
    return nearest + rounded + [_with_text(row, TEXT_TOO[row.file]) for row in both]


def ways(formats: Iterable[str]) -> dict[str, list[str]]:
    """ROUNDED of `formats`, without what they cannot be rounded by: format -> methods."""
    found = {}
    for name in formats:
        plain = UNSMOOTHED.get(name, name)
        able = [way for way in ROUNDED.get(name, ()) if method_for(plain, METHODS[way], TOKENS) is METHODS[way]]
        if able:
            found[name] = able
    return found


def scheme_of(format_name: str, kernel: str, machine: Machine, compute: torch.dtype) -> str | None:
    """The scheme that runs a file of this format on this kernel; `auto` if it has no name but is picked anyway."""
    fitting = [resolve(name, DIT) for name in schemes_for({family(format_name)}, DIT)]
    named = sorted((row for row in fitting if row.kernel == kernel), key=lambda row: row.format is None)
    if named:
        return named[0].name
    return AUTO if choose(format_name, machine, dtype=compute).kernel.name == kernel else None


def _row(format_name: str, kernel: str, scheme: str, machine: Machine, compute: torch.dtype) -> Contestant:
    # what lies in the file as fp8-channel, whatever range its codes use, is taken for that
    held = "fp8-channel" if format_name == "fp8-reduced" else format_name
    choice = choose(held, machine, prefer=kernel, dtype=compute)
    auto = choose(held, machine, dtype=compute).kernel.name == kernel
    # the calibration decides which layers of a smoothed file are, and the width of a layer how it is rotated
    stored = "" if FORMATS[format_name].smooth or FORMATS[format_name].settings else f"{choice.format} on {kernel}"
    return Contestant(f"{format_name} ({kernel})", OURS, format_name, stored, scheme, auto=auto, kernel=kernel)


def _differs(row: Contestant) -> bool:
    """Whether a row is on one of ROUNDED_KERNELS; where activations stay float both compute the same."""
    activations = FORMATS[row.file].activation != "float"
    return row.kernel in (ROUNDED_KERNELS if activations else ROUNDED_KERNELS[:1])


def _rounded(row: Contestant, rounding: str) -> Contestant:
    name = f"{row.file}, {WORDS[rounding]} ({row.kernel})"
    return replace(row, name=name, rounding=rounding, auto=False)


def _with_text(row: Contestant, text: str) -> Contestant:
    return replace(row, name=f"{row.name}, T5 {text}", text=text)
