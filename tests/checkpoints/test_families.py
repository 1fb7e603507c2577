"""Other families than Wan: what they are called, and where their names go."""

import json
import re

import pytest
import torch
from family_files import FAMILIES, core_model, lightx2vs, tensors_of, write
from older_comfyui import in_core
from safetensors.torch import save_file

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.dit_names import DIT_RULES, LIGHTX2V_RULES
from x2v_quant.checkpoints.names import targets
from x2v_quant.cli import main

DEPTH = {"depth": 2, "depth_single_blocks": 3, "hidden_size": 256}


@pytest.mark.parametrize("name", in_core(FAMILIES))
def test_inspect_names_the_family(name, told, tmp_path, capsys):
    told(name)
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
