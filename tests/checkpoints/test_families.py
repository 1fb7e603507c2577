"""Other families than Wan: what they are called, where their names go, and how layers become one."""

import json
import re

import pytest
import torch
from family_files import FAMILIES, core_model, lightx2vs, metadata_of, tensors_of, write
from hypothesis import example, given, settings
from hypothesis import strategies as st
from older_comfyui import core_knows_minimax_h3, core_knows_seedvr2, in_core
from safetensors.torch import load_file, save_file

from x2v_quant.checkpoints import CheckpointError, open_checkpoint
from x2v_quant.checkpoints.cutting import cut
from x2v_quant.checkpoints.dit_names import DIT_RULES, LIGHTX2V_RULES
from x2v_quant.checkpoints.names import targets
from x2v_quant.cli import main
from x2v_quant.demo.quantize import KINDS
from x2v_quant.formats import FORMATS

K = 256
PIECES = [f"noise_refiner.0.attention.to_{one}" for one in "qkv"]
JOINED = "noise_refiner.0.attention.qkv"
# with the pieces it makes a file one of Z-Image's
SIGN = {"all_final_layer.2-1.linear.bias": torch.zeros(3)}
# kind -> the least number of rows that can be joined with others
TOGETHER = dict.fromkeys(KINDS, 1) | {"block128": 128, "mxfp8": 128, "nvfp4": 128, "int4-marlin": 64}
DEPTH = {"depth": 2, "depth_single_blocks": 3, "hidden_size": 256}


def weights(*rows, amax=None):
    """A weight for each of PIECES, with all their largest values the same if `amax` is given."""
    generator = torch.Generator().manual_seed(0)
    found = [torch.randn((count, K), generator=generator).clamp(-3, 3) for count in rows]
    for weight in found if amax else []:
        weight[0, 0] = amax
    return found


@pytest.fixture
def z_image(tmp_path):
    """z_image(pieces) -> checkpoint of a file with `pieces` (layer -> its tensors by the end of their names) alone."""

    def make(pieces):
        tensors = {f"{layer}.{end}": part for layer, parts in pieces.items() for end, part in parts.items()}
        save_file({**SIGN, **tensors}, tmp_path / "z.safetensors")
        return open_checkpoint(tmp_path / "z.safetensors")

    return make


def stored(kind, *given):
    return {layer: dict(KINDS[kind](weight)) for layer, weight in zip(PIECES, given, strict=True)}


def dequantized(held):
    return FORMATS[held.format].wrap(held.tensors, torch.float32, held.shape).dequantize()


def joined(checkpoint):
    checkpoint.require("dit")
    return checkpoint.load().quantized


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_of_the_joined_layer_are_those_of_its_pieces(kind, z_image, tmp_path):
    given = weights(3 * K, K, 2 * K, amax=3.0)
    found = joined(z_image(stored(kind, *given)))
    assert found.keys() == {JOINED}
    save_file({f"a.{end}": part for end, part in KINDS[kind](given[1]).items()}, tmp_path / "one.safetensors")
    alone = open_checkpoint(tmp_path / "one.safetensors").load().quantized["a"]
    whole = dequantized(found[JOINED])
    assert whole.shape == found[JOINED].shape == (6 * K, K)
    assert torch.equal(whole[3 * K : 4 * K], dequantized(alone))
    assert (whole - torch.cat(given)).norm() < 0.2 * torch.cat(given).norm()
    assert all(tensor.is_contiguous() for tensor in found[JOINED].tensors.values())


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_stored_together_are_not_torn(kind, z_image):
    """A first piece of 64 rows ends in the middle of a block of 128."""
    checkpoint = z_image(stored(kind, *weights(64, 64, 64, amax=3.0)))
    if TOGETHER[kind] <= 64:
        assert joined(checkpoint)[JOINED].shape == (192, K)
        return
    (problem,) = checkpoint.problems
    assert problem.key == f"{PIECES[0]}.weight"
    assert "which only in multiples of 128 can be joined" in problem.cause and "int8 or fp8" in problem.remedy


@settings(max_examples=30, deadline=None)
@example(rows=[1, 1, 1], kind="fp8")
@given(rows=st.lists(st.integers(1, 40), min_size=3, max_size=3), kind=st.sampled_from(["int8", "fp8"]))
def test_pieces_of_any_height_can_be_joined_by_row(rows, kind, tmp_path_factory):
    given = weights(*rows)
    tensors = {f"{layer}.{end}": part for layer, parts in stored(kind, *given).items() for end, part in parts.items()}
    path = tmp_path_factory.mktemp("rows") / "z.safetensors"
    save_file({**SIGN, **tensors}, path)
    expected = [
        tensors[f"{layer}.weight"].float() * tensors[f"{layer}.weight_scale"].float().reshape(-1, 1) for layer in PIECES
    ]
    assert torch.equal(dequantized(joined(open_checkpoint(path))[JOINED]), torch.cat(expected))


def test_nvfp4_with_a_scale_for_each_piece_is_refused(z_image):
    small, large, other = weights(K, K, K)
    checkpoint = z_image(stored("nvfp4", small, 4 * large, other))
    assert any("is refused unless those that become one have the same scale" in note for note in checkpoint.notes)
    words = rf"z.safetensors: {PIECES[1]}.weight has another scale than {PIECES[0]}, .* int8 or fp8"
    with pytest.raises(CheckpointError, match=words):
        joined(checkpoint)


def test_one_scale_for_each_piece_becomes_one_for_each_row(z_image):
    pieces = stored("fp8-tensor", *weights(K, K, K))
    for index, parts in enumerate(pieces.values()):
        parts["weight_scale"] = torch.tensor(1.0 + index)
        parts["input_scale"] = torch.tensor(0.5)
    held = joined(z_image(pieces))[JOINED]
    assert held.tensors["scale"].flatten().tolist() == [1.0] * K + [2.0] * K + [3.0] * K
    assert held.tensors["input_scale"].tolist() == [0.5]


def test_input_scales_that_differ_are_refused(z_image):
    pieces = stored("fp8-tensor", *weights(K, K, K))
    for index, parts in enumerate(pieces.values()):
        parts["input_scale"] = torch.tensor(0.5 + index)
    with pytest.raises(CheckpointError, match=rf"{PIECES[1]}.weight has another input_scale than {PIECES[0]}"):
        joined(z_image(pieces))


def _plain(pieces):
    pieces[PIECES[1]] = {"weight": torch.zeros(K, K)}


def _other_format(pieces):
    pieces[PIECES[2]] = dict(KINDS["fp8"](torch.ones(K, K)))


def _wider(pieces):
    pieces[PIECES[1]] = dict(KINDS["int8"](torch.ones(K, 2 * K)))


def _both_namings(pieces):
    pieces[JOINED] = dict(KINDS["int8"](torch.ones(3 * K, K)))


@pytest.mark.parametrize(
    "change,layer,words",
    [
        (_plain, PIECES[1], f"is not quantized, {PIECES[0]} is int8-channel: ComfyUI has both in one layer, {JOINED}"),
        (_other_format, PIECES[2], f"is fp8-channel, {PIECES[0]} is int8-channel: ComfyUI has both in one layer"),
        (_wider, PIECES[1], f"has 512 input channels, {PIECES[0]} has 256"),
        (_both_namings, PIECES[0], f"and {JOINED}.weight are both {JOINED}.weight in ComfyUI's model"),
    ],
)
def test_pieces_that_do_not_go_together_are_a_problem(change, layer, words, z_image):
    pieces = stored("int8", *weights(K, K, K))
    change(pieces)
    (problem,) = z_image(pieces).problems
    assert problem.key == f"{layer}.weight"
    assert words in problem.cause


@pytest.mark.parametrize("name", in_core(FAMILIES))
def test_inspect_names_the_family(name, tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    layers = write(path, name, "int8", tensors_of(name))
    assert main(["inspect", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["kind"], report["model"], report["problems"]) == ("dit", FAMILIES[name].model, [])
    assert report["formats"] == {"int8-channel": len(layers)}


@pytest.mark.parametrize("name", in_core(FAMILIES))
def test_comfyuis_own_names_are_known_and_stay(name, tmp_path):
    """But for Flux's and HunyuanVideo's, whose files have the same ones under two: the family is told all the same."""
    tensors = {key: tensor.to(torch.bfloat16) for key, tensor in tensors_of(name).items()}
    save_file(tensors, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path / "model.safetensors")
    assert checkpoint.model.split()[0].rstrip("()") in FAMILIES[name].model or name == "longcat"
    assert checkpoint.kind == "dit"
    assert checkpoint.load().plain.keys() == tensors.keys()


@core_knows_minimax_h3
def test_a_constant_of_the_code_is_a_tensor_of_the_checkpoint(tmp_path):
    """One that the file has all the same is taken as it is."""
    path, name = tmp_path / "model.safetensors", "rope.inv_freq"
    write(path, "minimax-h3", "fp8", tensors_of("minimax-h3"))
    assert name not in load_file(path)
    checkpoint = open_checkpoint(path)
    assert torch.equal(checkpoint.load().plain[name], FAMILIES["minimax-h3"].constants[name])
    assert f"{name} is not in the file, and computed for ComfyUI's model" in checkpoint.notes
    own = torch.arange(16.0)
    save_file({**load_file(path), name: own}, path)
    assert torch.equal(open_checkpoint(path).load().plain[name], own)
    assert not open_checkpoint(path).added


@core_knows_seedvr2
def test_what_lies_beside_the_file_is_a_tensor_of_the_checkpoint(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = tensors_of("seedvr2")
    write(path, "seedvr2", "fp8", tensors)
    checkpoint = open_checkpoint(path)
    assert checkpoint.notes[:2] == [
        f"{text}_conditioning is not in the file, and taken from {text[:3]}_emb.pt beside it"
        for text in ("positive", "negative")
    ]
    plain = checkpoint.load().plain
    assert all(torch.equal(plain[name].float(), tensors[name]) for name in FAMILIES["seedvr2"].companions)
    (tmp_path / "neg_emb.pt").unlink()
    (problem,) = open_checkpoint(path).problems
    assert problem.key == "negative_conditioning"
    assert problem.remedy.endswith(f" and save it as {tmp_path / 'neg_emb.pt'}.")


# as published, LTX-2 has its VAEs and the projection of its text in one file with the diffusion model
BESIDE_LTX_2 = (
    "vae.decoder.conv_in.conv.weight",
    "audio_vae.decoder.conv_in.conv.weight",
    "vocoder.conv_pre.weight",
    "text_embedding_projection.aggregate_embed.weight",
)


def test_other_models_in_a_file_of_ltx_2_are_left_out(tmp_path):
    path = tmp_path / "model.safetensors"
    write(path, "ltx-2", "fp8-tensor", tensors_of("ltx-2"))
    alone = open_checkpoint(path)
    others = {key: torch.zeros(2, 2) for key in BESIDE_LTX_2}
    save_file({**load_file(path), **others}, path, metadata_of("ltx-2"))
    found = open_checkpoint(path)
    assert (found.model, found.problems) == ("LTX-2", [])
    assert found.tensors.keys() == alone.tensors.keys() and found.layers.keys() == alone.layers.keys()
    assert found.load().plain.keys() == alone.load().plain.keys()
    (note,) = set(found.notes) - set(alone.notes)
    assert note.startswith("4 tensors of other models (")


def _of_core(name):
    """Core's own table for a family: file's name -> (ComfyUI's, first row or None)."""
    from comfy.utils import flux_to_diffusers, z_image_to_diffusers

    table = flux_to_diffusers(DEPTH) if name == "flux" else z_image_to_diffusers({"n_layers": 2, "dim": 256})
    places = {}
    for theirs, place in table.items():
        ours, rows = (place, None) if isinstance(place, str) else place[:2]
        places[theirs] = (ours, None if rows is None else rows[1])
    return places


@pytest.mark.parametrize("name", ["flux", "z-image"])
def test_the_tables_say_what_cores_own_say(name):
    core = _of_core(name)
    firsts = {}
    for theirs, (ours, first) in core.items():
        if theirs.startswith("controlnet_"):
            continue
        found = targets(name, theirs)
        assert {target.name for target in found} == {ours}, theirs
        if first is not None:
            (target,) = found
            firsts.setdefault(ours, []).append((target.piece, first, target.pieces))
    assert len(firsts) > 6
    for ours, places in firsts.items():
        assert [piece for piece, _, _ in sorted(places, key=lambda place: place[1])] == list(range(len(places))), ours
        assert {pieces for _, _, pieces in places} == {len(places)}, ours


def test_hunyuan_videos_table_says_what_cores_own_says():
    from comfy.supported_models import HunyuanVideo

    for name in ("hunyuan", "hunyuan 1.5"):
        for theirs in lightx2vs(name, core_model(name).state_dict()):
            fused = re.sub(r"_attn_[qkv]\.", "_attn_qkv.", theirs)
            (ours,) = HunyuanVideo.process_unet_state_dict(None, {fused: None})
            assert {target.name for target in targets("hunyuan-video", theirs)} == {ours}, theirs


def test_scale_and_shift_of_the_output_change_places():
    """Diffusers' norm_out has the scale first, ComfyUI's the shift: as core swaps them."""
    from comfy.utils import swap_scale_shift

    weight = torch.arange(8.0).reshape(4, 2)
    found = sorted(targets("flux", "norm_out.linear.weight"), key=lambda target: target.piece)
    assert torch.equal(torch.cat([target.take(weight) for target in found]), swap_scale_shift(weight))


# table -> the files that have its names
NAMED = {
    "flux": ("flux", "flux 2", "longcat"),
    "z-image": ("z-image",),
    "hunyuan-video": ("hunyuan", "hunyuan 1.5"),
    "minimax-h3": ("minimax-h3",),
}


@pytest.mark.parametrize("table", in_core(DIT_RULES))
def test_no_rule_is_dead(table):
    files = NAMED.get(table, ())
    names = [key for name in files for key in lightx2vs(name, core_model(name).state_dict())]
    names.append("double_blocks.0.img_attn.norm.query_norm.scale")  # as models' authors have it
    for rule in DIT_RULES[table]:
        assert any(re.match(rule.pattern, name) for name in names), rule.pattern


# table -> the families whose models have ComfyUI's names of it
LIGHTX2VS = {
    "to flux": "flux",
    "to flux 2": "flux 2",
    "to longcat": "longcat",
    "to z-image": "z-image",
    "to hunyuan-video": "hunyuan",
    "to hunyuan-video 1.5": "hunyuan 1.5",
    "to minimax-h3": "minimax-h3",
}


def test_every_table_has_its_family():
    assert LIGHTX2VS.keys() == LIGHTX2V_RULES.keys()


@pytest.mark.parametrize("family,table", in_core((family, table) for table, family in LIGHTX2VS.items()))
def test_the_two_directions_are_one_table(family, table):
    """Every row is used, and leads back to where the tensor was, row for row."""
    forth = next(name for name, files in NAMED.items() if family in files)
    tensors = tensors_of(family)
    for rule in LIGHTX2V_RULES[table]:
        assert any(re.match(rule.pattern, name) for name in tensors), rule.pattern
    for name, tensor in tensors.items():
        if name in FAMILIES[family].constants:
            assert targets(table, name) == []
            continue
        pieces = {}
        for there in targets(table, name):
            pieces.setdefault(there.name, {})[there.piece] = there.take(tensor)
        back = []
        for theirs, parts in pieces.items():
            whole = torch.cat([parts[index] for index in sorted(parts)]) if len(parts) > 1 else parts[0]
            back += [(here.piece, here.name, here.take(whole)) for here in targets(forth, theirs)]
        assert {ours for _, ours, _ in back} == {name}
        assert torch.equal(torch.cat([part for _, _, part in sorted(back, key=lambda one: one[0])]), tensor), name


@settings(max_examples=60, deadline=None)
@given(
    tiles=st.integers(2, 6),
    borders=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), min_size=1, max_size=3),
    kind=st.sampled_from(["int8", "fp8", "fp8-tensor", "block128", "mxfp8", "nvfp4"]),
)
def test_rows_that_are_cut_off_are_those_of_the_whole(tiles, borders, kind, tmp_path_factory):
    """In tiles of 128 rows, which every format allows."""
    spans = [(128 * start, 128 * stop) for start, stop in borders if start < stop <= tiles]
    (given,) = weights(128 * tiles, amax=3.0)
    path = tmp_path_factory.mktemp("cut") / "one.safetensors"
    save_file({f"a.{end}": part for end, part in KINDS[kind](given).items()}, path)
    held = open_checkpoint(path).load().quantized["a"]
    if spans:
        whole, part = dequantized(held), cut(held, spans)
        assert torch.equal(dequantized(part), torch.cat([whole[start:stop] for start, stop in spans]))
    assert (cut(held, [(0, 64)]) is None) == (TOGETHER[kind] == 128)


def test_a_checkpoint_is_read_in_pieces(z_image):
    """Headers name the layers as the file does; ComfyUI's names come with the weights."""
    checkpoint = z_image(stored("int8", *weights(K, K, K)))
    assert checkpoint.layers.keys() == set(PIECES)
    assert checkpoint.formats == {"int8-channel": 3}
    assert checkpoint.notes == ["3 int8-channel layers become 1 at load, as ComfyUI has them"]
    assert load_file(checkpoint.path).keys() > {f"{piece}.weight" for piece in PIECES}
