"""One linear layer with its activation quantization against torch's bfloat16 and float32."""

import torch

from ..formats import FORMATS
from ..kernels import choose
from ..machine import default_device, describe
from .case import Case
from .timing import medians

# tokens x in_features x out_features: the feed-forward and attention layers of Wan 1.3B
SHAPES = ((1024, 1536, 8960), (4096, 1536, 1536))
PEERS = {"bf16": torch.bfloat16, "fp32": torch.float32}
# what the int8 path must reach on a CPU with VNNI
CPU_TARGETS = {"bf16": 1.5, "fp32": 2.5}


@torch.inference_mode()
def cases(repeats: int = 21) -> list[Case]:
    """A case per format that has a low-precision kernel here, shape and peer; each side gets activations of the peer's
    dtype. Times in milliseconds."""
    device = default_device()
    machine = describe(device)
    result = []
    for format_name in [name for name, row in FORMATS.items() if row.family == name]:
        for tokens, k, n in SHAPES:
            choice = choose(format_name, machine, (n, k))
            kernel = choice.kernel
            if kernel.activation == "float":
                continue
            weight = torch.randn((n, k), device=device) / k**0.5
            bias = torch.randn(n, device=device)
            codes, params = FORMATS[choice.format].layout.quantize(weight)
            for peer, dtype in PEERS.items():
                x = torch.randn((tokens, k), device=device).to(dtype)
                dense, dense_bias = weight.to(dtype), bias.to(dtype)
                times = medians(
                    {
                        "ours": lambda x=x, c=codes, p=params, b=bias, kernel=kernel: kernel.linear(x, c, p, b),
                        "theirs": lambda x=x, w=dense, b=dense_bias: torch.nn.functional.linear(x, w, b),
                    },
                    repeats,
                    warmups=2,
                )
                result.append(
                    Case(
                        f"linear {tokens}x{k}x{n} {format_name} ({kernel.name}) vs torch {peer}",
                        ours=times["ours"] * 1e3,
                        theirs=times["theirs"] * 1e3,
                        unit="ms",
                        target=CPU_TARGETS[peer] if device.type == "cpu" else None,
                    )
                )
    return result
