"""One change that a file spells twice counts once; two changes of one weight are refused."""

import pytest
import torch
from family_files import core_model

from x2v_quant.loras import LoRAError, LoRATargets, apply_lora, translate

pytestmark = pytest.mark.usefixtures("inference")
NAME, ROOT = "lora.safetensors", "diffusion_model."
QKV = "layers.0.attention.qkv"
WHOLE, ROWS = "diffusion_model.{}", 256


@pytest.fixture(scope="module")
def z_image():
    return LoRATargets({key: tuple(t.shape) for key, t in core_model("z-image").state_dict().items()}, ROOT)


@pytest.fixture(scope="module")
def flux():
    return LoRATargets({key: tuple(t.shape) for key, t in core_model("flux").state_dict().items()}, ROOT)


def pair(layer, up, down, ends=("lora_B.weight", "lora_A.weight"), alpha=None):
    tensors = {f"{layer}.{ends[0]}": up, f"{layer}.{ends[1]}": down}
    return tensors if alpha is None else tensors | {f"{layer}.alpha": torch.tensor(float(alpha))}


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


CORES = ("lora_up.weight", "lora_down.weight")
UP, DOWN = drawn(768, 4), drawn(4, 256, seed=1)
PARTS = {f"layers.0.attention.to_{one}": UP[rows * ROWS :][:ROWS] for rows, one in enumerate("qkv")}
# the fused layer's own factors, those of the three parts in one of three times the rank, and in 8 bits
FUSED = {
    "same factors": (UP, DOWN),
    "parts in a block": (torch.block_diag(*PARTS.values()), DOWN.repeat(3, 1)),
    "rounded": (UP.to(torch.float8_e4m3fn), DOWN.bfloat16()),
}
PREFIXES = ("diffusion_model.", "transformer.", "lora_unet_", "")


def named(prefix, layer):
    return prefix + (layer.replace(".", "_") if prefix.endswith("_") else layer)


@pytest.mark.parametrize("parts_first", [False, True])
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("fused", FUSED)
def test_a_fused_layer_and_its_parts_count_once(fused, prefix, parts_first, z_image):
    whole = pair(named("diffusion_model.", QKV), *FUSED[fused])
    parts = {key: t for layer, up in PARTS.items() for key, t in pair(named(prefix, layer), up, DOWN, CORES).items()}
    made = translate(NAME, parts | whole if parts_first else whole | parts, z_image)
    assert list(made.patches) == [f"{ROOT}{QKV}.weight"]
    assert set(made.unused) == set(parts)
    assert all(line.startswith("not used: ") for line in made.lines(z_image))
    first = made.lines(z_image)[0]
    assert f"is for the same tensor as diffusion_model.{QKV}.lora_" in first and first.endswith("the same change")


def test_one_part_beside_the_fused_layer_counts_once(z_image):
    part = pair("layers.0.attention.to_v", PARTS["layers.0.attention.to_v"], DOWN)
    made = translate(NAME, pair(QKV, UP, DOWN) | part, z_image)
    assert list(made.patches) == [f"{ROOT}{QKV}.weight"]
    assert set(made.unused) == set(part)


def test_parts_alone_all_count(z_image):
    made = translate(NAME, {k: t for layer, up in PARTS.items() for k, t in pair(layer, up, DOWN).items()}, z_image)
    assert (len(made.patches), made.unused) == (3, {})


TWICE = {
    "prefixes": (pair("diffusion_model.X", UP, DOWN), pair("transformer.X", UP, DOWN)),
    "kohya": (pair("diffusion_model.X", UP, DOWN), pair("lora_unet_X", UP, DOWN, CORES)),
    "kohya with alpha": (pair("diffusion_model.X", UP, DOWN), pair("lora_unet_X", UP, DOWN * 2, CORES, alpha=2)),
    "A-B and up-down": (pair("X", UP, DOWN, CORES), pair("X", UP, DOWN)),
    "A-B and up-down, one alpha": (pair("X", UP, DOWN, CORES, alpha=2), pair("X", UP, DOWN)),
    "two adapters": (
        pair("X", UP, DOWN, ("lora_B.one.weight", "lora_A.one.weight")),
        pair("X", UP, DOWN, ("lora_B.two.weight", "lora_A.two.weight")),
    ),
    "with and without weight": (pair("X", UP, DOWN), pair("X", UP, DOWN, ("lora_B", "lora_A"))),
    "old diffusers": (pair("X", UP, DOWN), pair("X", UP, DOWN, ("lora.up.weight", "lora.down.weight"))),
    "product": (pair("X", UP, DOWN), {"diffusion_model.X.diff": UP @ DOWN}),
}


def with_layer(tensors, layer=QKV):
    return {
        key.replace("X", layer.replace(".", "_") if key.startswith("lora_unet") else layer): tensor
        for key, tensor in tensors.items()
    }


@pytest.mark.parametrize("key_formats", TWICE)
def test_two_key_formats_of_one_change_count_once(key_formats, z_image):
    first, second = map(with_layer, TWICE[key_formats])
    made = translate(NAME, first | second, z_image)
    (patch,) = made.patches.values()
    assert torch.equal(patch.weights[0], UP)
    assert set(made.unused) == set(second) - set(first)


@pytest.mark.parametrize("key_formats", sorted(set(TWICE) - {"product"}))
def test_two_changes_of_one_weight_are_refused(key_formats, z_image):
    first, second = map(with_layer, TWICE[key_formats])
    second = {key: tensor * (0.5 if "up" in key or "lora_B" in key else 1) for key, tensor in second.items()}
    with pytest.raises(
        LoRAError, match=rf"^{NAME}: .*{QKV.split('.')[-1]}.* and .* change the same weight in different"
    ):
        translate(NAME, first | second, z_image)


def test_parts_that_differ_from_the_fused_layer_are_refused(z_image):
    part = pair("layers.0.attention.to_q", drawn(256, 4, seed=5), DOWN)
    with pytest.raises(LoRAError, match=r"to_q\.lora_B\.weight and .*qkv\.lora_B\.weight change the same weight"):
        translate(NAME, pair(QKV, UP, DOWN) | part, z_image)


def test_single_blocks_of_flux(flux):
    """Queries, keys, values and the feed-forward are one layer; its queries, keys and values have a name too."""
    up = drawn(7 * 256, 4)
    shares = {"attn.to_q": (0, 1), "attn.to_k": (1, 1), "attn.to_v": (2, 1), "proj_mlp": (3, 4)}
    parts = {
        key: tensor
        for name, (start, count) in shares.items()
        for key, tensor in pair(
            f"transformer.single_transformer_blocks.1.{name}", up[start * 256 :][: count * 256], DOWN
        ).items()
    }
    made = translate(NAME, pair("diffusion_model.single_blocks.1.linear1", up, DOWN) | parts, flux)
    assert list(made.patches) == [f"{ROOT}single_blocks.1.linear1.weight"]
    assert set(made.unused) == set(parts)


def test_the_model_is_changed_once(models, output, plain):
    model = models("int8-channel")
    once = plain(1)
    again = {}
    for key, tensor in once.items():
        layer, end = key.removeprefix("diffusion_model.").split(".lora_")
        again[f"lora_unet_{layer.replace('.', '_')}.lora_{end}"] = tensor
    patched, report = apply_lora(model, once | again, NAME, 1.0, "bypass")
    wanted, _ = apply_lora(model, once, NAME, 1.0, "bypass")
    assert torch.equal(output(patched), output(wanted))
    assert f"({len(once)} of {2 * len(once)} keys): " in report and "the same change" in report
    output(model)
