"""Sound models whose names have something around them: it is taken off, and the file reads as without it."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from x2v_quant.checkpoints import CheckpointError, open_checkpoint
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options

Q = "blocks.1.self_attn.q"
T5 = "models_t5_umt5-xxl-enc-int8.pth"
CLIP = "models_clip_open-clip-xlm-roberta-large-vit-huge-14-int8.pth"

PREFIXES = [
    "net.",
    "model.",
    "model.model.",
    "transformer.",
    "module.",
    "_orig_mod.",
    "dit.",
    "module.model._orig_mod.",
    "net.model.diffusion_model.",
    "model.diffusion_model.net.",
    "state_dict.",
    "ema_model.",
    "foo.bar.",
    "free.0.",
]
INFIXES = [
    "_checkpoint_wrapped_module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "module",
    "_fsdp_wrapped_module._orig_mod",
]


def inside(key: str, infix: str) -> str:
    """With `infix` behind a block's number, or behind the name of what has none."""
    parts = key.split(".")
    return ".".join([*parts[:2], infix, *parts[2:]]) if len(parts) > 2 else key


def same(one, other) -> bool:
    """Whether two files' weights are the same under the same names."""
    if one.plain.keys() != other.plain.keys() or one.quantized.keys() != other.quantized.keys():
        return False
    parts = [(stored.tensors, other.quantized[name].tensors) for name, stored in one.quantized.items()]
    parts.append((one.plain, other.plain))
    return all(torch.equal(a[name], b[name]) for a, b in parts for name in a)


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_that_all_names_share_is_taken_off(prefix, ending, wan, write):
    plain = open_checkpoint(write(wan(), "plain.safetensors"))
    found = open_checkpoint(write({prefix + key: tensor for key, tensor in wan().items()}, f"model{ending}"))
    found.require("dit")
    assert (found.model, found.formats) == (plain.model, plain.formats)
    assert same(found.load(), plain.load())


@pytest.mark.parametrize("prefix", ["", "net.", "model.diffusion_model."])
@pytest.mark.parametrize("infix", INFIXES)
def test_words_that_wrappers_add_inside_are_taken_out(infix, prefix, wan, write):
    plain = open_checkpoint(write(wan(), "plain.safetensors"))
    found = open_checkpoint(write({prefix + inside(key, infix): tensor for key, tensor in wan().items()}))
    found.require("dit")
    assert same(found.load(), plain.load())


@pytest.mark.parametrize("name,kind", [(T5, "t5"), (CLIP, "clip_vision")])
@pytest.mark.parametrize("prefix", ["text_encoder.", "module.encoder_model.", "net._orig_mod."])
@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_encoders_too(name, kind, prefix, ending, fixtures, write):
    tensors = torch.load(fixtures / name, weights_only=True)
    plain = open_checkpoint(fixtures / name)
    given = {prefix + inside(key, "_fsdp_wrapped_module"): tensor.clone() for key, tensor in tensors.items()}
    found = open_checkpoint(write(given, f"model{ending}"))
    found.require(kind)
    assert same(found.load(), plain.load())


def test_a_tokenizer_and_the_old_marker_stand_beside_the_prefix(fixtures, write):
    tensors = torch.load(fixtures / T5, weights_only=True)
    spiece = torch.arange(9, dtype=torch.uint8)
    beside = {"spiece_model": spiece, "scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    found = open_checkpoint(write({**{f"net.{key}": t.clone() for key, t in tensors.items()}, **beside}))
    found.require("t5")
    assert torch.equal(found.load().spiece_model, spiece)


@pytest.mark.parametrize("named", ["net.", "", "model.diffusion_model.", "net._fsdp_wrapped_module."])
@pytest.mark.parametrize("prefix", ["net.", "", "model.diffusion_model."])
def test_the_header_marks_layers_with_and_without_the_prefix(prefix, named, wan, write):
    """A marker of an unknown format has to be seen under either name."""
    tensors = {prefix + key: tensor for key, tensor in wan().items()}
    table = {"layers": {f"{named}{Q}": {"format": "mxfp9"}}}
    (problem,) = open_checkpoint(write(tensors, metadata={"_quantization_metadata": json.dumps(table)})).problems
    assert (problem.key, problem.cause) == (f"{prefix}{Q}.weight", "is marked with the unknown format 'mxfp9'")


def test_markers_beside_wrapped_layers_are_read(wan, write):
    tensors = {f"net.{key}": tensor for key, tensor in wan().items()}
    marker = torch.tensor(list(json.dumps({"format": "mxfp9"}).encode()), dtype=torch.uint8)
    (problem,) = open_checkpoint(write({**tensors, f"net.{Q}.comfy_quant": marker})).problems
    assert (problem.key, problem.cause) == (f"net.{Q}.weight", "is marked with the unknown format 'mxfp9'")


def test_a_problem_is_told_by_the_files_own_key(wan, write):
    tensors = {f"net.{inside(key, '_orig_mod')}": tensor for key, tensor in wan().items()}
    tensors["net.blocks.1._orig_mod.self_attn.q.weight_scale"][3] = float("nan")
    with pytest.raises(CheckpointError, match=r"net\.blocks\.1\._orig_mod\.self_attn\.q\.weight_scale has a scale"):
        open_checkpoint(write(tensors)).load()
    del tensors["net.blocks.1._orig_mod.self_attn.q.weight_scale"]
    (problem,) = open_checkpoint(write(tensors)).problems
    assert problem.key == "net.blocks.1._orig_mod.self_attn.q.weight"


def test_blocks_in_a_folder_have_a_wrapper_too(wan, write, tmp_path):
    for name, of in (("block_0", "blocks.0."), ("block_1", "blocks.1."), ("non_block", ("head.", "patch_"))):
        part = {f"net.{key}": tensor for key, tensor in wan().items() if key.startswith(of)}
        write(part, f"wan/{name}.safetensors")
    found = open_checkpoint(tmp_path / "wan")
    found.require("dit")
    assert same(found.load(), open_checkpoint(write(wan())).load())


def test_two_names_of_one_tensor_are_refused(wan, write):
    tensors = {f"net.{key}": tensor for key, tensor in wan().items()}
    tensors[f"net._orig_mod.{Q}.bias"] = torch.zeros(8)
    with pytest.raises(CheckpointError, match=rf"net\.{Q}\.bias is the same tensor as net\._orig_mod\.{Q}\.bias"):
        open_checkpoint(write(tensors))


def test_a_prefix_before_what_is_no_known_model_stays(write):
    name = "net.some_blocks.0.attn.to_q"
    tensors = {f"{name}.weight": torch.zeros(8, 8, dtype=torch.int8), f"{name}.weight_scale": torch.ones(8, 1)}
    found = open_checkpoint(write(tensors))
    assert (found.model, list(found.layers)) == ("unknown DiT", [name])


def test_an_average_beside_the_model_and_an_optimizer_is_taken(wan, write):
    """In a flat file, which has no more than dots for that."""
    average = {f"ema_model.{key}": tensor for key, tensor in wan().items()}
    model = {f"model.{key}": torch.zeros_like(tensor) for key, tensor in wan().items()}
    path = write({**average, **model, "optimizer.state.0.exp_avg": torch.zeros(3), "step": torch.tensor(5)})
    found = open_checkpoint(path)
    found.require("dit")
    assert same(found.load(), open_checkpoint(write(wan(), "plain.safetensors")).load())
    assert any("average of the weights is read: ema_model" in note for note in found.notes)


def test_models_side_by_side_are_listed(wan, write):
    both = {f"{name}.{key}": tensor.clone() for name in ("generator", "critic") for key, tensor in wan().items()}
    with pytest.raises(CheckpointError, match=r"several tables of tensors: critic \(Wan 2\.1 t2v\), generator \(W"):
        open_checkpoint(write(both))


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_convert_writes_the_models_own_names(ending, wan, write, tmp_path, untried):
    plain = {key: tensor for key, tensor in wan().items() if not key.endswith("weight_scale")}
    plain = {key: t.to(torch.bfloat16) if t.dtype is torch.int8 else t for key, t in plain.items()}
    source = write({f"net.{inside(key, '_orig_mod')}": tensor for key, tensor in plain.items()}, f"model{ending}")
    target, expected = tmp_path / "out.safetensors", tmp_path / "expected.safetensors"
    convert(source, target, Options(format="int8-channel"))
    save_file(plain, tmp_path / "plain.safetensors")
    convert(tmp_path / "plain.safetensors", expected, Options(format="int8-channel"))
    written, wanted = load_file(target), load_file(expected)
    assert written.keys() == wanted.keys()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in written.items())
