"""The same source through LightX2V's converter and through ours."""

import pytest
import torch
from safetensors.torch import load_file, save_file

CLIP = "models_clip_open-clip-xlm-roberta-large-vit-huge-14-{}.pth"
T5 = "models_t5_umt5-xxl-enc-{}.pth"
FORMATS = {"int8": "int8-channel", "fp8": "fp8-channel"}
BF16_STEP = 2.0**-8


def theirs(name, fixtures):
    if name.endswith(".pth"):
        return torch.load(fixtures / name, weights_only=True)
    path = fixtures / name
    files = path.glob("*.safetensors") if path.is_dir() else [path]
    return {key: tensor for file in files for key, tensor in load_file(file).items()}


def order(codes):
    """Codes as integers of which neighbours differ by one."""
    if codes.dtype is torch.int8:
        return codes.to(torch.int32)
    bits = codes.view(torch.uint8).to(torch.int32)
    return torch.where(bits > 127, 128 - bits, bits)


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "source,name",
    [
        ("t5.safetensors", T5),
        ("clip.safetensors", CLIP),
        ("wan_t2v_source.safetensors", {"int8": "wan_t2v_int8_blocks", "fp8": "wan_t2v_fp8.safetensors"}),
    ],
)
def test_codes_and_scales_are_theirs_up_to_their_rounding(kind, source, name, fixtures, converted):
    given = load_file(fixtures / source)
    their = theirs(name[kind] if isinstance(name, dict) else name.format(kind), fixtures)
    ours = load_file(converted(fixtures / source, format=FORMATS[kind]))
    quantized = [key for key, tensor in ours.items() if f"{key}_scale" in ours]
    assert quantized == [key for key in ours if f"{key}_scale" in their]
    for key in quantized:
        scale, their_scale = ours[f"{key}_scale"].float(), their[f"{key}_scale"].float()
        assert scale.shape == their_scale.shape
        assert ((scale - their_scale).abs() <= BF16_STEP * their_scale).all()
        assert ours[key].dtype == their[key].dtype
        assert (order(ours[key]) - order(their[key])).abs().max() <= 1
        true = given[key].float()
        ours_off, theirs_off = (
            (codes.float() * scales - true).norm() for codes, scales in ((ours[key], scale), (their[key], their_scale))
        )
        assert ours_off <= theirs_off, key


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("source,name", [("t5.safetensors", T5), ("clip.safetensors", CLIP)])
def test_keys_shapes_and_types_are_theirs(kind, source, name, fixtures, converted):
    their = theirs(name.format(kind), fixtures)
    ours = load_file(converted(fixtures / source, format=FORMATS[kind]))
    assert ours.keys() == their.keys()
    for key, tensor in ours.items():
        assert tensor.shape == their[key].shape, key
        assert tensor.dtype == their[key].dtype, key


def test_what_is_not_quantized_is_untouched(fixtures, converted):
    given = load_file(fixtures / "t5.safetensors")
    ours = load_file(converted(fixtures / "t5.safetensors", format="int8-channel"))
    plain = [key for key in ours if f"{key}_scale" not in ours and not key.endswith("_scale")]
    assert len(plain) > 5
    for key in plain:
        assert torch.equal(ours[key], given[key])


def test_a_weight_of_zeros_keeps_a_positive_scale(tensors, tmp_path, converted):
    key = "blocks.0.ffn.0.weight"
    path = tmp_path / "zeros.safetensors"
    save_file({**tensors, key: torch.zeros_like(tensors[key])}, path)
    ours = load_file(converted(path, format="int8-channel"))
    assert (ours[key] == 0).all() and (ours[f"{key}_scale"] > 0).all()
