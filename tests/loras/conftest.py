"""The demo's text to video in every format, LoRAs for it in every key format, and what they are compared with."""

import pytest
import safetensors.torch
import torch
from comfy_kitchen.tensor import QuantizedTensor

from x2v_quant.benchmarks.quantize import quantized
from x2v_quant.benchmarks.wan import WanSize
from x2v_quant.demo import assets
from x2v_quant.formats import format_of
from x2v_quant.schemes import SchemeChoice

SIZE = WanSize(dim=128, ffn=512)  # of the trained model
# format in the file -> (what the demo's writer calls it, scheme that leaves the layout as it is)
FORMATS = {
    "int8-channel": ("int8", "dequant"),
    "fp8-channel": ("fp8", "dequant"),
    "fp8-block128": ("block128", "dequant"),
    "fp8-tensor": ("fp8-tensor", "dequant"),
    "int4-g128": ("int4", "dequant"),
    "int4-g128-marlin": ("int4-marlin", "reference"),
    "mxfp8": ("mxfp8", "dequant"),
    "nvfp4": ("nvfp4", "dequant"),
}
# layer -> (rows, columns): each kind that is quantized, and one that is not
LAYERS = {
    "blocks.0.self_attn.q": (SIZE.dim, SIZE.dim),
    "blocks.1.cross_attn.o": (SIZE.dim, SIZE.dim),
    "blocks.1.ffn.0": (SIZE.ffn, SIZE.dim),
    "blocks.2.ffn.2": (SIZE.dim, SIZE.ffn),
    "time_embedding.2": (SIZE.dim, SIZE.dim),
}


@pytest.fixture(scope="session")
def original(demo_models) -> dict[str, torch.Tensor]:
    """The 16-bit tensors of the demo's text to video."""
    path = demo_models / "diffusion_models" / assets.names(assets.ORIGINAL).t2v
    return safetensors.torch.load_file(path)


@pytest.fixture(scope="session")
def models(original, tmp_path_factory):
    """models(format name) -> its ModelPatcher, loaded once, in the mode that it runs in: leave it as it was."""
    from x2v_quant.loading.dit import load_dit

    loaded = {}

    def get(name):
        if name not in loaded:
            kind, scheme = FORMATS[name]
            path = tmp_path_factory.mktemp("loras") / f"{name}.safetensors"
            safetensors.torch.save_file(quantized(original, kind, "dit"), path)
            with torch.inference_mode():
                loaded[name] = load_dit(str(path), SchemeChoice(dit=scheme, compute_dtype="fp32"))
        return loaded[name]

    return get


@pytest.fixture
def dequantized(original):
    """dequantized(patcher) -> core's own model with the numbers that the quantized one stands for, in float32."""
    import json

    import comfy.sd

    def make(patcher):
        held = patcher.model.diffusion_model.state_dict()
        weights = {
            name: parameter.dequantize() if isinstance(parameter, QuantizedTensor) else held[name]
            for name, parameter in patcher.model.diffusion_model.named_parameters()
        }
        sd = {name: weight.float().clone() for name, weight in weights.items()}
        config = json.dumps({"transformer": {"text_dim": sd["text_embedding.0.weight"].shape[1]}})
        return comfy.sd.load_diffusion_model_state_dict(sd, {"dtype": torch.float32}, metadata={"config": config})

    return make


@pytest.fixture
def output():
    """output(patcher) -> what the diffusion model makes of one noise, with its LoRAs."""
    import comfy.model_management

    def run(patcher):
        generator = torch.Generator().manual_seed(0)
        model = patcher.model.diffusion_model
        x = torch.randn((1, 16, 1, 8, 8), generator=generator)
        text = torch.randn((1, 16, model.text_embedding[0].in_features), generator=generator)
        comfy.model_management.load_models_gpu([patcher])
        return model(x, torch.tensor([500.0]), text)

    return run


@pytest.fixture(params=FORMATS)
def format_name(request):
    return request.param


@pytest.fixture
def layers():
    """Name of a layer with a LoRA -> (rows, columns)."""
    return LAYERS


@pytest.fixture
def factors():
    """factors(seed, alpha) -> layer -> {"down" [4, K], "up" [N, 4], "alpha"}, in numbers that bfloat16 has."""

    def make(seed=0, alpha=None):
        generator = torch.Generator().manual_seed(seed)
        made = {}
        for layer, (n, k) in LAYERS.items():
            down = torch.randn((4, k), generator=generator) * k**-0.5
            up = torch.randn((n, 4), generator=generator) * 0.5
            made[layer] = {"down": down.bfloat16().float(), "up": up.bfloat16().float()}
            if alpha is not None:
                made[layer]["alpha"] = torch.tensor(float(alpha))
        return made

    return make


@pytest.fixture
def plain(factors):
    """plain(seed, alpha) -> the same as a LoRA file of LightX2V's."""

    def make(seed=0, alpha=None):
        return {
            f"diffusion_model.{layer}.{'alpha' if name == 'alpha' else f'lora_{name}.weight'}": tensor
            for layer, held in factors(seed, alpha).items()
            for name, tensor in held.items()
        }

    return make


@pytest.fixture
def contents():
    """contents(patcher) -> every parameter's bytes, scales included."""
    return lambda patcher: {name: _parts(value) for name, value in patcher.model.diffusion_model.named_parameters()}


def _parts(value):
    if not isinstance(value, QuantizedTensor):
        return [value.detach().clone()]
    row = format_of(value)
    return [part.detach().clone().reshape(-1).view(torch.uint8) for part in row.parts(value._qdata, value._params)]


@pytest.fixture
def same():
    """same(contents, contents): bit for bit."""
    return lambda a, b: set(a) == set(b) and all(all(map(torch.equal, a[name], b[name])) for name in a)
