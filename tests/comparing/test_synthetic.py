"""Prompts of random numbers and empty latents: they fit core's own models."""

from types import SimpleNamespace

import pytest
import torch
from core_models import built

from x2v_quant.comparing.errors import CompareError


def patcher(name):
    return SimpleNamespace(model=SimpleNamespace(diffusion_model=built(name)))


@pytest.mark.parametrize(
    "name,pooled",
    [
        ("wan t2v", None),
        ("qwen-image", None),
        ("z-image", None),
        ("flux", 768),
        ("flux 2", None),
        ("chroma", None),
        ("hunyuan", 768),
        ("hunyuan 1.5", None),
        ("sd3", 256),
    ],
)
def test_widths_are_those_of_the_model(name, pooled):
    from x2v_quant.comparing.synthetic import TOKENS, conditioning

    ((context, extra),) = conditioning(patcher(name), 0)
    assert context.shape == (1, TOKENS, 256)
    assert (extra["pooled_output"].shape if pooled else extra) == ((1, pooled) if pooled else {})


def test_a_seed_is_a_prompt():
    from x2v_quant.comparing.synthetic import conditioning

    first, again, other = (conditioning(patcher("wan t2v"), seed)[0][0] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_another_family_is_refused():
    from x2v_quant.comparing.synthetic import conditioning

    with pytest.raises(CompareError, match=r"no prompt of random numbers .* Compare Models"):
        conditioning(patcher("cosmos"), 0)


@pytest.mark.parametrize(
    "kind,shape",
    [
        ("Wan21", (1, 16, 3, 40, 64)),
        ("Wan22", (1, 48, 3, 20, 32)),
        ("Flux", (1, 16, 40, 64)),
        ("LTXV", (1, 128, 2, 10, 16)),
    ],
)
def test_latents_have_the_models_shape(kind, shape):
    import comfy.latent_formats

    from x2v_quant.comparing.synthetic import empty_latent

    model = SimpleNamespace(model=SimpleNamespace(latent_format=getattr(comfy.latent_formats, kind)()))
    samples = empty_latent(model, 512, 320, 9)["samples"]
    assert samples.shape == shape
    assert not samples.any()
