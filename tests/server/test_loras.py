"""Load LoRA in the demo's graph, in the real server: it changes the latents as core's loaders do, in any key form."""

import pytest
import torch
from distance import distance
from safetensors.torch import save_file

from x2v_quant.benchmarks.wan import WanSize
from x2v_quant.headless.client import ServerError

pytestmark = pytest.mark.slow

SIZE = WanSize(dim=128, ffn=512)  # of the trained model
# Wan's name in a block -> (diffusers', rows, columns)
LAYERS = {"self_attn.v": ("attn1.to_v", SIZE.dim, SIZE.dim), "ffn.2": ("ffn.net.2", SIZE.dim, SIZE.ffn)}
# quantized activations and bfloat16 turn a difference in the last bit into one of a whole step
EXACT = {"X2VScheme.dit": "dequant", "X2VScheme.compute_dtype": "fp32"}
CORES, DIFFUSERS, OTHER = "x2v_wan.safetensors", "x2v_diffusers.safetensors", "x2v_other.safetensors"


@pytest.fixture(scope="module", autouse=True)
def loras(server):
    folder = server.base / "models" / "loras"
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(13)
    files = {CORES: {}, DIFFUSERS: {}, OTHER: {"lora_unet_mid_block.lora_up.weight": torch.ones(4, 4)}}
    files[OTHER]["lora_unet_mid_block.lora_down.weight"] = torch.ones(4, 4)
    for block in range(SIZE.blocks):
        for wan, (diffusers, n, k) in LAYERS.items():
            down = torch.randn((4, k), generator=generator) * k**-0.5
            up = torch.randn((n, 4), generator=generator)
            files[CORES] |= {
                f"diffusion_model.blocks.{block}.{wan}.lora_down.weight": down,
                f"diffusion_model.blocks.{block}.{wan}.lora_up.weight": up,
            }
            files[DIFFUSERS] |= {
                f"transformer.blocks.{block}.{diffusers}.lora_A.default.weight": down.clone(),
                f"transformer.blocks.{block}.{diffusers}.lora_B.default.weight": up.clone(),
            }
    files[DIFFUSERS]["transformer.blocks.0.attn2.add_k_proj.diff_b"] = torch.zeros(SIZE.dim)
    for name, tensors in files.items():
        save_file(tensors, folder / name)


@pytest.fixture
def with_nodes(graph):
    """with_nodes((class type, inputs), ..., **changes of the graph) -> a prompt with these MODEL nodes behind the
    loader, reports shown."""

    def make(*nodes, **changes):
        prompt, ids = graph(**changes)
        last = [ids["X2VLoadDiT"], 0]
        users = [(entry, name) for entry in prompt.values() for name, value in entry["inputs"].items() if value == last]
        for index, (class_type, inputs) in enumerate(nodes):
            prompt[f"lora{index}"] = {"class_type": class_type, "inputs": {"model": last, **inputs}}
            last = [f"lora{index}", 0]
            if class_type == "X2VLoadLoRA":
                prompt[f"shown{index}"] = {"class_type": "PreviewAny", "inputs": {"source": [f"lora{index}", 1]}}
        for entry, name in users:
            entry["inputs"][name] = last
        return prompt

    return make


def ours(name=DIFFUSERS, strength=1.0, mode="auto"):
    return ("X2VLoadLoRA", {"lora_name": name, "strength": strength, "mode": mode})


def cores(class_type, strength=1.0):
    return (class_type, {"lora_name": CORES, "strength_model": strength})


@pytest.mark.parametrize(
    "mode,core",
    [("merge", "LoraLoaderModelOnly"), ("auto", "LoraLoaderModelOnly"), ("bypass", "LoraLoaderBypassModelOnly")],
)
def test_it_changes_the_latents_as_cores_loader_does(mode, core, with_nodes, run):
    plain, _ = run(with_nodes())
    expected, _ = run(with_nodes(cores(core)))
    got, report = run(with_nodes(ours(mode=mode)))
    assert distance(expected, plain) > 0.05
    assert torch.equal(got, expected)
    assert f"Most of it is used (16 of 17 keys): {DIFFUSERS}, strength 1 (" in report
    assert "add_k_proj.diff_b has no place in this model, the nearest is blocks.0.cross_attn.k" in report


def test_any_number_in_a_row_is_their_sum(with_nodes, run):
    bypass = "LoraLoaderBypassModelOnly"
    plain, _ = run(with_nodes(**EXACT))
    expected, _ = run(with_nodes(cores(bypass, 1.25), **EXACT))
    chains = (
        [ours(mode="bypass", strength=0.5), ours(mode="bypass"), ours(CORES, -0.25, "bypass")],
        [cores(bypass, 0.5), ours(mode="bypass"), cores(bypass, -0.25)],
        [cores(bypass, 0.5), cores(bypass, 1.0), cores(bypass, -0.25)],
    )
    for chain in chains:
        got, _ = run(with_nodes(*chain, **EXACT))
        assert distance(got, expected) < 1e-3 < distance(plain, expected)


def test_the_model_behind_the_loader_stays_as_it_is(with_nodes, run):
    plain, _ = run(with_nodes())
    for mode in ("merge", "bypass"):
        run(with_nodes(ours(mode=mode, strength=0.9)))
        # another node in the row, so that no cached latents answer
        again, _ = run(with_nodes(("ModelSamplingSD3", {"shift": 8.0})))
        assert distance(again, plain) < 1e-5


def test_a_lora_for_another_model_is_refused_before_sampling(with_nodes, server):
    with pytest.raises(ServerError, match=f"{OTHER} has nothing for this model: its keys are like lora_unet_mid_block"):
        server.client.run(with_nodes(ours(OTHER)))
