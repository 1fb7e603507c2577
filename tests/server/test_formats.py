"""A diffusion model of every format through the real server: the plan names the kernel, the latents stay near."""

import pytest
from distance import distance
from kinds import encoding_of
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks.quantize import KINDS, quantized
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.demo import assets
from x2v_quant.demo.graph import unet_loader
from x2v_quant.formats import before_repacking

pytestmark = pytest.mark.slow

LAYERS = 40
ORIGINAL = assets.names(assets.ORIGINAL).t2v


@pytest.fixture
def unquantized(graph, run):
    prompt, ids = graph()
    prompt[ids["X2VLoadDiT"]] = unet_loader(ORIGINAL)
    return run(prompt)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_it_loads_and_samples_in_the_server(kind, unquantized, server, graph, run, allowed):
    folder = server.base / "models" / "diffusion_models"
    name = f"every_format_{kind}.safetensors"
    save_file(quantized(load_file(folder / ORIGINAL), kind, "dit"), folder / name)
    latent, report = run(graph(**{"X2VLoadDiT.model_name": name})[0])
    error = distance(latent, unquantized)
    print(f"{kind}: {error:.4f}")
    assert error < allowed[kind], f"{error:.3%}"
    plan = report.split("\nDiT:\n")[1].split("\nT5:\n")[0]
    # a layer of a single block or group is what another format has as well
    formats = open_checkpoint(folder / name).formats
    assert encoding_of(kind).format in formats and sum(formats.values()) == LAYERS
    for format_name, count in formats.items():
        assert f"{count} layers {before_repacking(format_name)} -> " in plan
    assert ("converted from int4-g128-marlin, which changes no value" in plan) == (kind == "int4-marlin")
    assert "- not " in plan
