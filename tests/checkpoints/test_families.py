"""Other families than Wan: what they are called, and where their names go."""

import json
import re

import pytest
import torch
from family_files import FAMILIES, core_model, lightx2vs, tensors_of, write
from name_tables import called, table_of, targets_of
from older_comfyui import in_core
from safetensors.torch import save_file

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.cli import main
from x2v_quant.common.row_slice import ALL
from x2v_quant.families import FAMILIES as ALL_FAMILIES
from x2v_quant.families.family import DIT
from x2v_quant.families.rules import targets

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
        found = targets_of(FAMILIES[name].model, theirs)
        assert {target.name for target in found} == {ours}, theirs
        if first is not None:
            (target,) = found
            firsts.setdefault(ours, []).append((target.place.index, first, target.place.count))
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
            assert {target.name for target in targets_of("HunyuanVideo", theirs)} == {ours}, theirs


def test_scale_and_shift_of_the_output_change_places():
    """Diffusers' norm_out has the scale first, ComfyUI's the shift: as core swaps them."""
    from comfy.utils import swap_scale_shift

    weight = torch.arange(8.0).reshape(4, 2)
    found = sorted(targets_of("Flux (diffusers names)", "norm_out.linear.weight"), key=lambda target: target.place)
    assert torch.equal(torch.cat([target.take(weight) for target in found]), swap_scale_shift(weight))


# of one table
FLUX = ("flux", "flux 2", "longcat")
# a model -> the files that have the names of its table
NAMED = {
    **dict.fromkeys((f"{name} (diffusers names)" for name in ("Flux.2", "LongCat-Image", "Flux")), FLUX),
    **dict.fromkeys(("Flux.2", "Flux"), ()),
    "Z-Image (diffusers names)": ("z-image",),
    "HunyuanVideo": ("hunyuan", "hunyuan 1.5"),
    "MiniMax-H3 (diffusers names)": ("minimax-h3",),
}


def test_every_table_of_names_is_here():
    tables = {naming.model for family in ALL_FAMILIES for naming in family.namings if naming.joins}
    assert tables == NAMED.keys()


@pytest.mark.parametrize("model", in_core(NAMED))
def test_no_rule_is_dead(model):
    names = [key for name in NAMED[model] for key in lightx2vs(name, core_model(name).state_dict())]
    names.append("double_blocks.0.img_attn.norm.query_norm.scale")  # as models' authors have it
    for rule in table_of(model):
        assert any(re.match(rule.pattern, name) for name in names), rule.pattern


# a model under ComfyUI's names that LightX2V has under others -> its row of FAMILIES
LIGHTX2VS = {
    "Flux": "flux",
    "Flux.2": "flux 2",
    "LongCat-Image": "longcat",
    "Z-Image": "z-image",
    "HunyuanVideo": "hunyuan",
    "HunyuanVideo 1.5": "hunyuan 1.5",
    "MiniMax-H3": "minimax-h3",
}


def test_every_table_of_lightx2vs_names_is_here():
    tables = {
        variant.model
        for family in ALL_FAMILIES
        for naming in family.namings
        for variant in naming.variants
        if family.kind == DIT and variant.lightx2v.table
    }
    assert tables == LIGHTX2VS.keys()


@pytest.mark.parametrize("family,model", in_core((family, model) for model, family in LIGHTX2VS.items()))
def test_the_two_directions_are_one_table(family, model):
    """Every row is used, and leads back to where the tensor was, row for row."""
    forth = table_of(next(name for name, files in NAMED.items() if family in files))
    table = called(model).variant.lightx2v.table
    tensors = tensors_of(family)
    for rule in table:
        assert any(re.match(rule.pattern, name) for name in tensors), rule.pattern
    for name, tensor in tensors.items():
        if name in FAMILIES[family].constants:
            assert targets(table, name) == []
            continue
        pieces = {}
        for there in targets(table, name):
            pieces.setdefault(there.name, {})[there.place] = there.take(tensor)
        back = []
        for theirs, parts in pieces.items():
            whole = torch.cat([parts[index] for index in sorted(parts)]) if len(parts) > 1 else parts[ALL]
            back += [(here.place, here.name, here.take(whole)) for here in targets(forth, theirs)]
        assert {ours for _, ours, _ in back} == {name}
        assert torch.equal(torch.cat([part for _, _, part in sorted(back, key=lambda one: one[0])]), tensor), name
