"""From ComfyUI's names to LightX2V's: the names are those that its engine asks for, and the model stays the same."""

import json
import re
from pathlib import Path

import pytest
import torch
from family_files import FAMILIES, lightx2vs, metadata_of, run, tensors_of
from older_comfyui import core_knows_minimax_h3, in_core
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from x2v_quant.calibration import Calibration
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import LIGHTX2V, X2V
from x2v_quant.converting.convert import convert
from x2v_quant.converting.errors import ConvertError
from x2v_quant.converting.options import Options
from x2v_quant.converting.outputs import outputs
from x2v_quant.converting.renaming import renamed
from x2v_quant.layer_rules import parse_overrides
from x2v_quant.loading.dit import load_dit
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
ASKED = json.loads((Path(__file__).parent.parent / "data" / "lightx2v_names.json").read_text())["names"]
# read out of the same file by LightX2V's encoders, or by nothing of it
OTHERS = re.compile(
    r"(positive|negative)_conditioning$|byt5_in\.|vision_in\.|model\.diffusion_model\.(audio|video)_embeddings_connector\."
)
NUMBERED = re.compile(r"\b(layers|\w*blocks|\w+_refiner)\.\d+(?=\.)")
# families whose layers LightX2V has apart, or under another prefix
RENAMED = [name for name in FAMILIES if name not in ("qwen-image", "ernie", "seedvr2")]
EXACT = SchemeChoice(dit="dequant", compute_dtype="fp32")


@pytest.fixture
def source(tmp_path, told):
    """source(name) -> file of the small model of that family, bfloat16 under ComfyUI's names."""

    def write(name):
        told(name)
        path = tmp_path / "source.safetensors"
        tensors = {key: tensor.bfloat16() for key, tensor in tensors_of(name).items()}
        save_file({**tensors, **FAMILIES[name].constants}, path, metadata_of(name))
        return path

    return write


@pytest.fixture
def to(tmp_path):
    """to(dialect, source, **options) -> the path that was written"""

    def run(dialect, source, **options):
        target = tmp_path / f"{source.stem}-{dialect}.safetensors"
        convert(source, target, Options(dialect=dialect, **options))
        return target

    return run


def names_in(path):
    with safe_open(path, "pt") as file:
        return {key for key in file.keys() if not key.endswith("weight_scale")}  # noqa: SIM118 - a file is no mapping


@pytest.mark.parametrize("name", in_core(ASKED))
def test_the_names_are_those_that_lightx2v_asks_for(name, source, to):
    found = {NUMBERED.sub(r"\1.#", key) for key in names_in(to(LIGHTX2V, source(name), format="int8"))}
    always, sometimes = set(ASKED[name]["always"]), set(ASKED[name]["sometimes"])
    assert always <= found
    assert {key for key in found - always - sometimes if not OTHERS.match(key)} == set()


@pytest.mark.parametrize("name", ["flux", "hunyuan"])
def test_families_that_lightx2v_does_not_have_get_the_names_of_their_files(name, source, to):
    """Diffusers' for Flux, their authors' for HunyuanVideo 1.0."""
    assert names_in(to(LIGHTX2V, source(name), format="int8")) == set(lightx2vs(name, tensors_of(name)))


@pytest.mark.parametrize("name", in_core(RENAMED))
def test_there_and_back_is_the_same_model(name, source, to):
    """int8 has a scale per row, so that it does not matter where layers are cut."""
    original = source(name)
    there = to(LIGHTX2V, original, format="int8")
    back = to(X2V, there)
    assert {key for key in names_in(back) if not key.endswith(".comfy_quant")} == set(tensors_of(name))
    first, second = run(name, load_dit(str(there), EXACT)), run(name, load_dit(str(back), EXACT))
    assert torch.equal(first, second)
    once, twice = (open_checkpoint(path).load() for path in (to(X2V, original, format="int8"), back))
    assert once.quantized.keys() <= twice.quantized.keys()
    for layer, stored in once.quantized.items():
        assert all(torch.equal(tensor, twice.quantized[layer].tensors[part]) for part, tensor in stored.tensors.items())
    for key, tensor in twice.plain.items():
        assert torch.equal(tensor, once.plain[key])


@core_knows_minimax_h3
@pytest.mark.parametrize("names", ["lightx2v", "comfyui"])
def test_a_constant_of_the_code_stays_exact(names, source, to):
    """Positions of thousands of tokens are multiplied by it, whatever type the rest is kept in."""
    path = source("minimax-h3") if names == "comfyui" else to(LIGHTX2V, source("minimax-h3"), format="int8")
    found = load_file(to(X2V, path, format="int8", kept="bf16"))
    (expected,) = FAMILIES["minimax-h3"].constants.values()
    assert torch.equal(found["rope.inv_freq"], expected)
    assert {found[key].dtype for key in ("condition_proj.weight", "final_layer.video_out.bias")} == {torch.bfloat16}


# what LightX2V has quantized of Flux.2 and others have not
KEPT = parse_overrides(
    "double_stream_modulation_* = keep\nsingle_stream_modulation = keep\ntime_guidance_embed = keep\n"
    "x_embedder = keep\ncontext_embedder = keep\nproj_out = keep"
)
# with it the layer whose halves change places is quantized too
OUTPUT = parse_overrides("final_layer.adaLN_modulation.1 = fp8-tensor")


@pytest.mark.parametrize(
    "name,format_name",
    [
        ("flux", "nvfp4"),
        ("flux", "fp8-tensor"),
        ("flux 2", "fp8-block128"),
        ("flux 2", "mxfp8"),
        ("z-image", "fp8-channel"),
    ],
)
def test_a_quantized_source_keeps_its_codes(name, format_name, source, to):
    """Tiles of 128 rows are cut where they end."""
    ours = to(X2V, source(name), format=format_name, overrides=tuple(OUTPUT if name == "flux 2" else ()))
    there = to(LIGHTX2V, ours, overrides=tuple(KEPT if name == "flux 2" else ()))
    once, twice = (open_checkpoint(path).load() for path in (ours, there))
    assert once.quantized.keys() <= twice.quantized.keys()
    for layer, stored in once.quantized.items():
        for part, tensor in stored.tensors.items():
            found = twice.quantized[layer].tensors[part]
            # pieces with one scale each have one for each row when they are joined
            assert torch.equal(found, tensor.expand_as(found) if part == "scale" else tensor), (layer, part)


@pytest.mark.usefixtures("untried")
def test_rows_that_are_stored_together_are_quantized_anew_where_a_cut_goes_through_them(tmp_path, to):
    """Three parts of 64 rows, in tiles of 128."""
    generator = torch.Generator().manual_seed(0)
    layer, key = torch.randn((192, 64), generator=generator), "noise_refiner.0.attention.qkv.weight"
    others = dict.fromkeys(("layers.0.adaLN_modulation.0.weight", "final_layer.linear.weight"), torch.ones(8, 8))
    save_file(
        {key: layer, **{name: tensor.clone() for name, tensor in others.items()}}, tmp_path / "source.safetensors"
    )
    path = tmp_path / "source.safetensors"
    for dialect, format_name in ((X2V, "mxfp8"), (LIGHTX2V, "int8")):
        path = to(dialect, path, format=format_name, overrides=tuple(parse_overrides(f"*.attention.* = {format_name}")))
    there = load_file(path)
    for index, one in enumerate("qkv"):
        part = f"noise_refiner.0.attention.to_{one}"
        again = there[f"{part}.weight"].float() * there[f"{part}.weight_scale"].float()
        wanted = layer[index * 64 : (index + 1) * 64]
        assert again.shape == wanted.shape
        assert 0 < (again - wanted).norm() < 0.06 * wanted.norm()


LORAS = {
    "z-image": ("layers.0.attention.qkv", "layers.1.feed_forward.w1", "cap_embedder.1"),
    "flux": ("single_blocks.0.linear1", "double_blocks.0.txt_attn.qkv", "final_layer.adaLN_modulation.1"),
}


@pytest.mark.parametrize("name", LORAS)
def test_a_lora_is_merged_before_layers_are_cut(name, source, to, tmp_path):
    tensors, lora = tensors_of(name), {}
    for index, layer in enumerate(LORAS[name]):
        rows, columns = tensors[f"{layer}.weight"].shape
        generator = torch.Generator().manual_seed(index)
        for end, shape in (("lora_up", (rows, 2)), ("lora_down", (2, columns))):
            lora[f"diffusion_model.{layer}.{end}.weight"] = torch.randn(shape, generator=generator)
    save_file(lora, tmp_path / "lora.safetensors")
    loras = ((tmp_path / "lora.safetensors", 0.7),)
    original = source(name)
    plain = open_checkpoint(to(LIGHTX2V, original, format="int8")).load()
    there, ours = (
        open_checkpoint(to(dialect, original, format="int8", loras=loras, overwrite=True)).load()
        for dialect in (LIGHTX2V, X2V)
    )
    for layer in LORAS[name]:
        if layer in there.quantized:
            for part, tensor in ours.quantized[layer].tensors.items():
                assert torch.equal(there.quantized[layer].tensors[part], tensor), (layer, part)
            assert not torch.equal(there.quantized[layer].tensors["codes"], plain.quantized[layer].tensors["codes"])
        else:
            assert torch.equal(there.plain[f"{layer}.weight"], ours.plain[f"{layer}.weight"])
            assert not torch.equal(there.plain[f"{layer}.weight"], plain.plain[f"{layer}.weight"])


def test_what_a_calibration_has_seen_of_a_layer_its_parts_have_seen(source):
    checkpoint = open_checkpoint(source("z-image"))
    seen = Calibration()
    seen.add("layers.0.attention.qkv", torch.tensor([3.0]), torch.tensor([4.0]), 2)
    seen.add("layers.0.feed_forward.w1", torch.tensor([5.0]), torch.tensor([6.0]), 3)
    seen.inputs["layers.0.attention.qkv"] = torch.ones((2, 1), dtype=torch.bfloat16)
    found = renamed(seen, outputs(checkpoint, LIGHTX2V))
    for one in "qkv":
        layer = f"layers.0.attention.to_{one}"
        assert (found.maxima[layer], found.squares[layer], found.tokens[layer]) == (3.0, 4.0, 2)
        assert found.inputs_of(layer) is seen.inputs_of("layers.0.attention.qkv")
        assert found.same_inputs(layer) == "layers.0.attention.qkv"
    assert found.maxima["layers.0.feed_forward.w1"] == 5.0
    assert "layers.0.attention.to_q" not in seen.maxima


def test_a_calibration_serves_a_search_under_lightx2vs_names(source, to):
    """Without the other names it would be refused as another model's."""
    original, seen = source("z-image"), Calibration()
    for key, tensor in tensors_of("z-image").items():
        if key.endswith("attention.qkv.weight"):
            width = tensor.shape[1]
            seen.add(key.removesuffix(".weight"), torch.full((width,), 3.0), torch.full((width,), 8.0), 8)
    rules = tuple(parse_overrides("*feed_forward* = keep\n*adaLN* = keep"))
    path = to(LIGHTX2V, original, target_snr=30.0, candidates=("int8",), calibration=seen, overrides=rules)
    assert "layers.0.attention.to_q" in open_checkpoint(path).layers


def test_inputs_of_a_layer_round_its_parts(source, to):
    """q, k and v have the codes that GPTQ gives to all three together."""
    original, seen = source("z-image"), Calibration()
    for key, tensor in tensors_of("z-image").items():
        if key.endswith("attention.qkv.weight"):
            layer, x = key.removesuffix(".weight"), torch.randn((400, tensor.shape[1])) * torch.rand(tensor.shape[1])
            seen.add(layer, x.abs().amax(dim=0), x.square().sum(dim=0), len(x))
            seen.inputs[layer] = x.to(torch.bfloat16)
    rules = tuple(parse_overrides("*feed_forward* = keep\n*adaLN* = keep\n*attention.out = keep"))
    asked = {"format": "int4-g128", "calibration": seen, "rounding": "gptq"}
    ours = open_checkpoint(to(X2V, original, overrides=rules, **asked)).load().quantized
    rules = tuple(parse_overrides("*feed_forward* = keep\n*adaLN* = keep\n*attention.to_out* = keep"))
    there = open_checkpoint(to(LIGHTX2V, original, overrides=rules, **asked)).load().quantized
    known = [layer for layer in ours if layer in seen.inputs]
    assert known
    for layer in known:
        # in Marlin's order there, where the shape allows it
        one, two = (made[layer].wrap(torch.float32).dequantize() for made in (ours, there))
        assert torch.equal(one, two), layer


def test_a_model_that_lightx2v_cannot_have_is_refused(tmp_path, to):
    """A Flux with a gated feed-forward: more rows in one layer than Flux has."""
    path = tmp_path / "gated.safetensors"
    save_file(
        {
            "double_blocks.0.img_attn.qkv.weight": torch.ones(48, 16),
            "single_blocks.0.linear1.weight": torch.ones(11 * 16, 16),
        },
        path,
    )
    words = r"single_blocks\.0\.linear1\.weight has shape \[176, 16\], .* 7 equal parts .* comfyui or x2v"
    with pytest.raises(ConvertError, match=words):
        to(LIGHTX2V, path, format="int8")


@pytest.mark.parametrize("name", in_core(RENAMED))
def test_a_file_with_lightx2vs_names_keeps_them(name, tmp_path, to, told):
    told(name)
    prefix = FAMILIES[name].prefix
    tensors = {f"{prefix}{key}": tensor.bfloat16() for key, tensor in lightx2vs(name, tensors_of(name)).items()}
    tensors = {key: tensor.contiguous() for key, tensor in tensors.items()}
    save_file(tensors, tmp_path / "s.safetensors", metadata_of(name))
    assert names_in(to(LIGHTX2V, tmp_path / "s.safetensors", format="int8")) == set(tensors)


def test_norms_as_their_authors_call_them_are_renamed_too(source, to, tmp_path):
    tensors = load_file(source("flux"))
    for key in [key for key in tensors if key.endswith(("query_norm.weight", "key_norm.weight"))]:
        tensors[f"{key.removesuffix('weight')}scale"] = tensors.pop(key)
    save_file(tensors, tmp_path / "authors.safetensors")
    found = names_in(to(LIGHTX2V, tmp_path / "authors.safetensors", format="int8"))
    assert found == set(lightx2vs("flux", tensors_of("flux")))
