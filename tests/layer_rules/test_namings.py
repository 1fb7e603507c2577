"""The same layers are taken whatever a file calls them, and no rule is there for nothing."""

import re

import pytest
import torch
from family_files import lightx2vs
from name_tables import targets_of
from older_comfyui import in_core, is_in_core

from x2v_quant.layer_rules import default, select
from x2v_quant.layer_rules.family_rules import WITH_LAYERS, family_rules

# diffusers' names of Wan's layers, LightX2V's of HunyuanVideo's: pattern -> ComfyUI's
WAN_DIFFUSERS = (
    (r"self_attn\.([qkv])$", r"attn1.to_\1"),
    (r"self_attn\.o$", "attn1.to_out.0"),
    (r"cross_attn\.([qkv])$", r"attn2.to_\1"),
    (r"cross_attn\.o$", "attn2.to_out.0"),
    (r"cross_attn\.([kv])_img$", r"attn2.add_\1_proj"),
    (r"ffn\.0$", "ffn.net.0.proj"),
    (r"ffn\.2$", "ffn.net.2"),
    (r"before_proj$", "proj_in"),
    (r"after_proj$", "proj_out"),
    (r"^head\.head$", "proj_out"),
    (r"^text_embedding\.0$", "condition_embedder.text_embedder.linear_1"),
    (r"^text_embedding\.2$", "condition_embedder.text_embedder.linear_2"),
    (r"^time_embedding\.0$", "condition_embedder.time_embedder.linear_1"),
    (r"^time_embedding\.2$", "condition_embedder.time_embedder.linear_2"),
    (r"^time_projection\.1$", "condition_embedder.time_proj"),
    (r"^img_emb\.proj\.1$", "condition_embedder.image_embedder.ff.net.0.proj"),
    (r"^img_emb\.proj\.3$", "condition_embedder.image_embedder.ff.net.2"),
)
HUNYUAN_LIGHTX2V = (
    (r"_attn\.proj$", "_attn_proj"),
    (r"_mlp\.0$", "_mlp.fc1"),
    (r"_mlp\.2$", "_mlp.fc2"),
    (r"_mod\.lin$", "_mod.linear"),
    (r"modulation\.lin$", "modulation.linear"),
)
FLUX_2_DIFFUSERS = {
    "double_stream_modulation_img.linear": "double_stream_modulation_img.lin",
    "double_stream_modulation_txt.linear": "double_stream_modulation_txt.lin",
    "single_stream_modulation.linear": "single_stream_modulation.lin",
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_guidance_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_guidance_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "proj_out": "final_layer.linear",
}
# a layer of ComfyUI's -> the layers that it is fused from
HUNYUAN_FUSED = ((r"_attn\.qkv$", tuple(f"_attn_{c}" for c in "qkv")),)


def by_patterns(model, patterns, fused=()):
    """The file's names -> ComfyUI's."""
    origin = {}
    for layer in model.layers:
        several = next(((pattern, parts) for pattern, parts in fused if re.search(pattern, layer)), None)
        if several:
            origin |= {re.sub(several[0], part, layer): layer for part in several[1]}
        else:
            single = next((row for row in patterns if re.search(row[0], layer)), ("$^", ""))
            origin[re.sub(*single, layer)] = layer
    return origin


def by_core_table(model, table):
    """By one of core's own tables of whole keys: diffusers' name -> ComfyUI's, or (ComfyUI's, more)."""
    origin = {}
    for key, target in table.items():
        target = target if isinstance(target, str) else target[0]
        layer = target.removesuffix(".weight")
        if key.endswith(".weight") and layer in model.layers:
            origin[key.removesuffix(".weight")] = layer
    return origin


def by_rename_table(model, table, keys):
    """The file's names -> ComfyUI's first target, by a rename table of the loaders."""
    origin = {}
    for key in keys:
        found = targets_of(table, key)
        if found and found[0].name.removesuffix(".weight") in model.layers:
            origin[key.removesuffix(".weight")] = found[0].name.removesuffix(".weight")
    return origin


def flux_diffusers(model, hidden=256):
    from comfy.utils import flux_to_diffusers

    return by_core_table(model, flux_to_diffusers({"depth": 2, "depth_single_blocks": 3, "hidden_size": hidden}))


def flux_2_diffusers(model):
    """Core's table, and what it does not know of Flux.2 as LightX2V reads it."""
    return flux_diffusers(model) | FLUX_2_DIFFUSERS


def longcat_diffusers(model):
    """A Flux without guidance and pooled text."""
    renamed = flux_diffusers(model) | {
        "time_embed.timestep_embedder.linear_1": "time_in.in_layer",
        "time_embed.timestep_embedder.linear_2": "time_in.out_layer",
    }
    of_others = r"time_text_embed|.*\.(linear_(in|out)|to_qkv_mlp_proj)$|single_.*\.attn\.to_out$"
    return {theirs: ours for theirs, ours in renamed.items() if not re.match(of_others, theirs)}


def z_image_diffusers(model):
    from comfy.utils import z_image_to_diffusers

    return by_core_table(model, z_image_to_diffusers({"n_layers": 3, "n_refiner_layers": 2, "dim": 256}))


def minimax_h3_diffusers(model):
    rows = torch.empty(6, 1)
    names = {layer: lightx2vs("minimax-h3", {f"{layer}.weight": rows}) for layer in model.layers}
    return {theirs.removesuffix(".weight"): layer for layer, found in names.items() for theirs in found}


def hunyuan_original(model):
    """By the conversion that core itself does when it loads one."""
    from comfy.supported_models import HunyuanVideo

    original = [re.sub(r"_attn\.qkv$", "_attn_qkv", name) for name in by_patterns(model, HUNYUAN_LIGHTX2V)]
    return {
        name: next(iter(HunyuanVideo.process_unet_state_dict(None, {f"{name}.weight": 0}))).removesuffix(".weight")
        for name in original
    }


def wan_t5(model):
    blocks = (f"blocks.{i}.{part}.weight" for i in range(2) for part in ("norm1", "norm2", "pos_embedding.embedding"))
    layers = ("attn.q", "attn.k", "attn.v", "attn.o", "ffn.gate.0", "ffn.fc1", "ffn.fc2")
    keys = [*blocks, *(f"blocks.{i}.{layer}.weight" for i in range(2) for layer in layers)]
    return by_rename_table(model, "umt5 encoder", ["token_embedding.weight", "norm.weight", *keys])


def xlm_r(model):
    layers = ("attn.to_qkv", "attn.proj", "mlp.0", "mlp.2", "norm1")
    keys = [f"visual.transformer.{i}.{layer}.weight" for i in range(2) for layer in layers]
    return by_rename_table(model, "CLIP ViT vision encoder (XLM-R)", [*keys, "visual.patch_embedding.weight"])


# naming -> (model, model -> {the file's name: ComfyUI's}, tensors that tell the family beside the layers)
NAMINGS = {
    "wan diffusers": ("wan i2v", lambda m: by_patterns(m, WAN_DIFFUSERS), ("scale_shift_table",)),
    "wan vace diffusers": ("wan vace", lambda m: by_patterns(m, WAN_DIFFUSERS), ("scale_shift_table",)),
    "flux diffusers": ("flux", flux_diffusers, ()),
    "longcat diffusers": ("flux", longcat_diffusers, ()),
    "flux 2 diffusers": ("flux 2", flux_2_diffusers, ()),
    "z-image diffusers": ("z-image", z_image_diffusers, ()),
    "hunyuan original": ("hunyuan", hunyuan_original, ()),
    "hunyuan 1.5 lightx2v": ("hunyuan 1.5", lambda m: by_patterns(m, HUNYUAN_LIGHTX2V, HUNYUAN_FUSED), ()),
    "minimax-h3 diffusers": ("minimax-h3", minimax_h3_diffusers, ()),
    "wan t5": ("umt5", wan_t5, ("blocks.0.pos_embedding.embedding.weight",)),
    "xlm-r": ("clip vision", xlm_r, ()),
}


# namings by which alone a family is told -> what it is told as under ComfyUI's names
TOLD_AS = {"longcat diffusers": ("LongCat-Image", "Flux")}


def layers_of(rename, model):
    """The layers of a file in that naming, with the shapes of ComfyUI's, and where each of them goes."""
    origin = rename(model)
    return {theirs: model.layers[layer] for theirs, layer in origin.items()}, origin


def first_of_fused(layer):
    """XLM-R's to_qkv is three layers of ComfyUI's; the first stands for it."""
    return re.sub(r"self_attn\.[kv]_proj$", "self_attn.q_proj", layer)


@pytest.mark.parametrize("naming", in_core(NAMINGS))
def test_another_naming_takes_the_same_layers(naming, core_model):
    name, rename, more = NAMINGS[naming]
    model = core_model(name)
    ours = select(model.layers, model.names, "int8-channel")
    layers, origin = layers_of(rename, model)
    theirs = select(layers, [*(f"{layer}.weight" for layer in layers), *more], "int8-channel")
    assert (theirs.family, ours.family) == TOLD_AS.get(naming, (ours.family, ours.family))
    assert {origin[layer] for layer in theirs.formats} == {first_of_fused(layer) for layer in ours.formats}
    assert not {origin[layer] for layer in theirs.kept} & set(ours.formats)


@pytest.fixture(scope="module")
def names_of(every_model):
    """(name of a family, signs of a naming) -> (all layers, all tensors) of such models"""
    samples = [(model.layers, model.names) for model in every_model.values()]
    for name, rename, more in (row for row in NAMINGS.values() if is_in_core(row[0])):
        layers, _ = layers_of(rename, every_model[name])
        samples.append((layers, [*(f"{layer}.weight" for layer in layers), *more]))
    found = {}
    for layers, tensors in samples:
        told = family_rules(tensors).told
        if told is not None:
            known = found.setdefault((told.family.name, told.naming.signs), (set(), set()))
            known[0].update(layers)
            known[1].update(tensors)
    return found


# (family, naming), but for encoders that have no model here
FAMILIES = [
    (family, naming)
    for family in WITH_LAYERS
    for naming in family.namings
    if naming.model != "a vision encoder other than CLIP's"
]


def comfyuis(family, names_of):
    """The layers of all models of a family, under ComfyUI's names."""
    return {
        layer
        for (name, _), (layers, tensors) in names_of.items()
        if name == family.name
        for layer in map(family_rules(tensors).comfyuis, layers)
    }


@pytest.mark.parametrize("family", in_core(WITH_LAYERS), ids=lambda family: f"{family.name}-{family.namings[0].model}")
def test_no_rule_of_a_family_is_dead(family, names_of):
    layers = comfyuis(family, names_of)
    for pattern in (*family.takes, *(pattern for pattern, _ in family.keeps), *family.lightx2v_also):
        assert any(re.fullmatch(pattern, layer) for layer in layers), pattern


@pytest.mark.parametrize("family", in_core(WITH_LAYERS), ids=lambda family: f"{family.name}-{family.namings[0].model}")
def test_no_family_takes_a_table(family, names_of):
    assert not [layer for layer in comfyuis(family, names_of) if family.quantizes(layer) and default.table(layer)]


def test_no_reason_of_the_default_is_dead(names_of):
    layers = set().union(*(layers for layers, _ in names_of.values()))
    for pattern, _ in default.BY_NAME:
        assert any(pattern.search(layer) for layer in layers), pattern.pattern
    for pattern, _ in default.TABLES:
        assert any(pattern.fullmatch(layer) for layer in layers), pattern.pattern


@pytest.mark.parametrize(
    "family,naming,sign",
    in_core((family, naming, sign) for family, naming in FAMILIES for sign in naming.signs),
    ids=lambda value: getattr(value, "name", getattr(value, "model", None)),
)
def test_without_one_of_its_signs_a_model_is_told_otherwise(family, naming, sign, names_of):
    _, tensors = names_of[family.name, naming.signs]
    assert family_rules(tensors).told.naming is naming
    told = family_rules(name for name in tensors if not re.match(sign, name)).told
    assert told is None or told.naming is not naming
