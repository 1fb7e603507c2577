"""What is changed of each template so that it runs here, and what it says then."""

from collections.abc import Callable
from dataclasses import dataclass, field

STEPS = 4
LAYERS = 40  # of the demo's diffusion model, that are quantized

Replace = Callable[[dict], dict]  # a node of the prompt -> what stands for it


def small_text_encoder(widget: str) -> Replace:
    """Core builds T5 XXL in its full size only."""
    return lambda node: {"class_type": "ReferenceT5", "inputs": {"text_encoder_name": node["inputs"][widget]}}


def random_text(width: int) -> Replace:
    """Core builds Qwen's language models in their full size only, so that prompts become random numbers."""
    return lambda node: {"class_type": "ReferenceText", "inputs": {"text": node["inputs"]["text"], "width": width}}


@dataclass(frozen=True)
class Case:
    """`says`: words of Kernel Report, of a template that has it. `sizes`: titles or classes of nodes that have one;
    `samplers`: of those with steps. `pictures`: of nodes that load one. `replaced`: classes of nodes -> what stands for
    them. `steps`: one where core knows the model in its full width only. `scheme`: of Quantize Model, where not every
    machine's own will do."""

    says: str
    sizes: tuple[str, ...] = ("Video Size",)
    samplers: tuple[str, ...] = ("KSampler",)
    pictures: tuple[str, ...] = ()
    replaced: dict[str, Replace] = field(default_factory=dict)
    steps: int = STEPS
    scheme: str = ""


# a new template is a row
CASES = {
    "2 Wan 2.1 text to video, 4 steps": Case(f"{LAYERS} layers int8-channel ->"),
    "2 Wan 2.1 picture to video, 4 steps": Case("48 layers int8-channel ->", pictures=("Start Image",)),
    "2 Wan 2.1 first and last frame": Case(
        "48 layers int8-channel ->", pictures=("First Frame", "Last Frame"), scheme="int8-reference"
    ),
    "2 Wan 2.1 with little VRAM": Case(f"{LAYERS} layers int8-channel ->"),
    "2 Wan 2.2 picture to video, 4 steps": Case("int8-channel ->", samplers=(), pictures=("Start Image",)),
    "2 Wan 2.2 text to video, 4 steps": Case("fp8-channel ->", samplers=()),
    "2 Wan 2.2 5B, text or picture to video": Case(f"{LAYERS} layers int8-channel ->"),
    "3 Qwen-Image, 4 steps": Case(
        "fp8-channel ->", ("Image Size",), replaced={"CLIPTextEncode": random_text(3584)}, steps=1
    ),
    "3 Z-Image Turbo": Case("int8-channel ->", ("Image Size",), replaced={"CLIPTextEncode": random_text(256)}, steps=1),
    "3 Flux.1 Krea": Case(
        "fp8-channel ->", ("Image Size",), replaced={"DualCLIPLoader": small_text_encoder("clip_name2")}
    ),
    "4 Quantize your own model": Case(
        f"{LAYERS} layers int8-channel ->", replaced={"CLIPLoader": small_text_encoder("clip_name")}
    ),
    "4 Quantize better, step 1": Case(
        "int8-channel-smooth ->", ("Calibration Size", "Video Size"), ("Calibration Sampler", "Video Sampler")
    ),
    "4 Quantize better, step 2": Case("int8-channel-smooth ->"),
    "4 Quantize to 4 bits": Case(
        "w4a8", ("Calibration Size", "Video Size"), ("Calibration Sampler", "Video Sampler"), scheme="reference"
    ),
    "5 Compare quality": Case("", ("Compare Size", "Video Size"), ("KSampler", "X2VCompare")),
    "5 LightX2V configuration": Case(f"{LAYERS} layers int8-channel ->", samplers=()),
}
