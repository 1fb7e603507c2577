"""Small models of other families than Wan, and their files as LightX2V has them: names, layers, dtypes.

A model is core's own with random weights. Its tensors are known under ComfyUI's names; a file has them under those of
LightX2V's engine, see family_names.
"""

import importlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from core_models import FLUX_1, FLUX_2, HUNYUAN, HUNYUAN_15, LTX_2, MINIMAX_H3, SEEDVR2, Z_IMAGE
from family_names import BACK, NEVER, OF_FLUX_1, OF_FLUX_2, apart, flux_table, no_table, z_image_table
from safetensors.torch import save_file

from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.layer_rules import select
from x2v_quant.layer_rules.family_rules import lightx2v_also

Tensors = dict[str, torch.Tensor]
WEIGHT = ".weight"
HIDDEN = 256
TOKENS = 8


@dataclass(frozen=True)
class FamilyFile:
    """`model`: as inspect says it. `core`: module, class and arguments of core's model. `sizes`: what core's detection
    is told, for models whose sizes it does not read off the file. `inputs`: what the model's forward takes beside
    latents of the shape `latent`, a timestep and a context of the width `context`. `table`: core's, diffusers' names ->
    ComfyUI's; `left_out`: names in it that other families have. `every_linear`: LightX2V quantizes all of them.
    `prefix`: before every name of the file; `metadata`: the config in its header. `sound`: the shape of a second
    latent. `constants`: tensors of ComfyUI's model that are no weights, and that LightX2V's files do not have.
    `companions`: those that files beside them have instead -> the names of these."""

    model: str
    core: tuple[str, str, dict]
    latent: tuple[int, ...]
    context: int
    inputs: Callable[[], dict] = dict
    sizes: dict | None = None
    table: Callable[[dict], dict] = no_table
    left_out: str = NEVER
    every_linear: bool = False
    prefix: str = ""
    metadata: dict = field(default_factory=dict)
    sound: tuple[int, ...] = ()
    constants: Tensors = field(default_factory=dict)
    companions: dict[str, str] = field(default_factory=dict)


FLUX_2_SIZES = {"patch_size": 1, "in_channels": 128, "out_channels": 128, "qkv_bias": False, "txt_ids_dims": [3]}
LONGCAT = {"vec_in_dim": None, "guidance_embed": False, "context_in_dim": 3584, "txt_ids_dims": [1, 2]}
QWEN = {"num_layers": 2, "num_attention_heads": 2, "joint_attention_dim": HIDDEN}
Z_IMAGE_SIZES = {**Z_IMAGE, "z_image_modulation": True, "pad_tokens_multiple": 32, "axes_lens": (64, 64, 64)}
LTX_SIZES = {**LTX_2, "num_layers": 2, "apply_gated_attention": True}
ERNIE = {"hidden_size": HIDDEN, "num_attention_heads": 2, "num_layers": 2, "ffn_hidden_size": 512, "text_in_dim": 512}

FLUX_CLASS = ("comfy.ldm.flux.model", "Flux")
HUNYUAN_CLASS = ("comfy.ldm.hunyuan_video.model", "HunyuanVideo")

# a new family is a row
FAMILIES = {
    "qwen-image": FamilyFile(
        "Qwen-Image",
        ("comfy.ldm.qwen_image.model", "QwenImageTransformer2DModel", QWEN),
        (1, 16, 1, 8, 8),
        HIDDEN,
        sizes={"image_model": "qwen_image", **QWEN},
    ),
    "z-image": FamilyFile(
        "Z-Image (diffusers names)",
        ("comfy.ldm.lumina.model", "NextDiT", Z_IMAGE_SIZES),
        (1, 16, 8, 8),
        HIDDEN,
        lambda: {"num_tokens": TOKENS},
        sizes={"image_model": "lumina2", **Z_IMAGE_SIZES},
        table=z_image_table,
    ),
    "hunyuan 1.5": FamilyFile(
        "HunyuanVideo 1.5",
        (*HUNYUAN_CLASS, {**HUNYUAN_15, "patch_size": [1, 1, 1]}),
        (1, 16, 1, 4, 4),
        HIDDEN,
        lambda: {"txt_byt5": noise(1, 4, 1472), "clip_fea": noise(1, 4, 1152)},
    ),
    "hunyuan": FamilyFile(
        "HunyuanVideo",
        (*HUNYUAN_CLASS, HUNYUAN),
        (1, 16, 1, 8, 8),
        HIDDEN,
        lambda: {"y": noise(1, 768), "guidance": torch.ones(1)},
    ),
    "flux": FamilyFile(
        "Flux (diffusers names)",
        (*FLUX_CLASS, FLUX_1),
        (1, 16, 8, 8),
        HIDDEN,
        lambda: {"y": noise(1, 768), "guidance": torch.ones(1)},
        table=flux_table,
        left_out=OF_FLUX_2,
    ),
    "flux 2": FamilyFile(
        "Flux.2 (diffusers names)",
        (*FLUX_CLASS, {**FLUX_2, **FLUX_2_SIZES}),
        (1, 128, 4, 4),
        HIDDEN,
        lambda: {"guidance": torch.ones(1)},
        table=flux_table,
        left_out=OF_FLUX_1,
        every_linear=True,
    ),
    "longcat": FamilyFile(
        "LongCat-Image (diffusers names)",
        (*FLUX_CLASS, {**FLUX_1, **LONGCAT}),
        (1, 16, 8, 8),
        LONGCAT["context_in_dim"],
        table=flux_table,
        left_out=f"{OF_FLUX_2}|^time_text_embed",
        every_linear=True,
    ),
    "ltx-2": FamilyFile(
        "LTX-2",
        ("comfy.ldm.lightricks.av_model", "LTXAVModel", LTX_SIZES),
        (1, 128, 1, 4, 4),
        2 * LTX_SIZES["caption_channels"],
        lambda: {"attention_mask": None},
        prefix="model.diffusion_model.",
        metadata={"transformer": LTX_SIZES},
        sound=(1, 8, 4, 16),
    ),
    "ernie": FamilyFile(
        "Ernie-Image",
        ("comfy.ldm.ernie.model", "ErnieImageModel", ERNIE),
        (1, 128, 4, 4),
        ERNIE["text_in_dim"],
        lambda: {"num_tokens": TOKENS},
        sizes={"image_model": "ernie", **ERNIE},
        every_linear=True,
    ),
    "seedvr2": FamilyFile(
        "SeedVR2",
        ("comfy.ldm.seedvr.model", "NaDiT", SEEDVR2),
        (1, 16, 2, 4, 4),
        0,  # without one it takes its own positive_conditioning
        lambda: {"condition": noise(1, 17, 2, 4, 4), "transformer_options": {"cond_or_uncond": [0]}},
        sizes={"image_model": "seedvr2", **SEEDVR2},
        companions={"positive_conditioning": "pos_emb.pt", "negative_conditioning": "neg_emb.pt"},
    ),
    "minimax-h3": FamilyFile(
        "MiniMax-H3 (diffusers names)",
        ("comfy.ldm.minimax.model", "MiniMaxH3Model", MINIMAX_H3),
        (1, 24, 2, 4, 4),
        MINIMAX_H3["text_dim"],
        sound=(1, 32, 2, 5),
        # as diffusers' model and LightX2V's compute it
        constants={"rope.inv_freq": 1.0 / (10000.0 ** (torch.arange(0, 2 * 16, 2, dtype=torch.float32) / (2 * 16)))},
    ),
}


def noise(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tensors_of(name: str, more: dict | None = None) -> Tensors:
    """Random weights of the model under ComfyUI's names. more: as for `core_model`."""
    return random_weights(core_model(name, more)) | FAMILIES[name].constants


def random_weights(model: torch.nn.Module) -> Tensors:
    """Float32 values that bfloat16 holds, under the model's names."""
    generator = torch.Generator().manual_seed(1)
    found = {}
    for key, empty in model.state_dict().items():
        values = torch.randn(empty.shape, generator=generator)
        if key.endswith(WEIGHT) and empty.ndim == 1:
            values = 1 + 0.2 * values  # a norm's
        elif empty.ndim > 1:
            values = values * empty[0].numel() ** -0.5
        found[key] = values.to(torch.bfloat16).float()
    return found


def core_model(name: str, more: dict | None = None) -> torch.nn.Module:
    """Core's model on the meta device, with `more` arguments than the family's own."""
    import comfy.ops

    module, class_name, arguments = FAMILIES[name].core
    build = getattr(importlib.import_module(module), class_name)
    with torch.device("meta"):
        return build(
            **{**arguments, **(more or {})},
            dtype=torch.float32,
            device="meta",
            operations=comfy.ops.disable_weight_init,
        )


def tell_sizes(name: str, patch) -> None:
    """Tell core's detection, through pytest's MonkeyPatch, the sizes that it takes for granted of a real model."""
    import comfy.model_detection

    if FAMILIES[name].sizes:
        patch.setattr(comfy.model_detection, "detect_unet_config", lambda *_, **__: dict(FAMILIES[name].sizes))


def lightx2vs(name: str, tensors: Tensors, more: dict | None = None) -> Tensors:
    """ComfyUI's tensors under LightX2V's names, those apart that ComfyUI has in one. more: as for `core_model`."""
    family, result, done = FAMILIES[name], {}, set()
    for theirs, place in family.table({**family.core[2], **(more or {})}).items():
        ours, rows, change = (*((place,) if isinstance(place, str) else place), None, None)[:3]
        if ours not in tensors or re.search(family.left_out, theirs):
            continue
        part = tensors[ours] if rows is None else tensors[ours].narrow(*rows)
        result[theirs] = (part if change is None else change(part)).contiguous()
        done.add(ours)
    for ours in tensors.keys() - done - family.constants.keys() - family.companions.keys():
        for theirs, part in apart(name, ours, tensors[ours]).items():
            for pattern, replacement in BACK.get(name, ()):
                theirs = re.sub(pattern, replacement, theirs)
            result[theirs] = part
    return result


def quantized_layers(name: str, tensors: Tensors) -> set[str]:
    """Of tensors under LightX2V's names, the layers that its files have quantized."""
    shapes = {key.removesuffix(WEIGHT): tuple(t.shape) for key, t in tensors.items() if key.endswith(WEIGHT)}
    linear = {layer: shape for layer, shape in shapes.items() if len(shape) == 2 and "embedding." not in f"{layer}."}
    if FAMILIES[name].every_linear:
        return set(linear)
    return {*select(linear, tensors, "int8-channel").formats, *lightx2v_also(tensors)}


def write(
    path, name: str, kind: str, tensors: Tensors, more: dict | None = None, metadata: dict[str, str] | None = None
) -> set[str]:
    """Write `tensors`, under ComfyUI's names, as LightX2V's file in `kind`, a key of KINDS. Returns its layers.

    more: as for `core_model`. metadata: beside the family's own.
    """
    theirs = lightx2vs(name, tensors, more)
    layers = quantized_layers(name, theirs)
    family, stored = FAMILIES[name], {}
    for key, tensor in theirs.items():
        layer = key.removesuffix(WEIGHT)
        if key.endswith(WEIGHT) and layer in layers:
            stored |= {f"{layer}.{end}": part for end, part in KINDS[kind](tensor).items()}
        else:
            stored[key] = tensor.to(torch.bfloat16)
    stored = {f"{family.prefix}{key}": tensor.contiguous() for key, tensor in stored.items()}
    save_file(stored, path, {**(metadata_of(name) or {}), **(metadata or {})} or None)
    for tensor, file in family.companions.items():
        torch.save(tensors[tensor].to(torch.bfloat16), path.parent / file)
    return layers


def write_empty(path, name: str, more: dict) -> set[str]:
    """As `write`, in int8, for a model with `more` arguments, all of whose codes are zero."""
    theirs = lightx2vs(name, core_model(name, more).state_dict(), more)
    layers = quantized_layers(name, theirs)
    stored = {key: torch.zeros(tensor.shape, dtype=torch.bfloat16) for key, tensor in theirs.items()}
    for layer in layers:
        shape = theirs[f"{layer}{WEIGHT}"].shape
        stored[f"{layer}{WEIGHT}"] = torch.zeros(shape, dtype=torch.int8)
        stored[f"{layer}.weight_scale"] = torch.ones(shape[0], 1)
    save_file(stored, path)
    return layers


def metadata_of(name: str) -> dict[str, str] | None:
    given = FAMILIES[name].metadata
    return {"config": json.dumps(given)} if given else None


def run(name: str, patcher) -> torch.Tensor:
    """One step of a MODEL, as one float32 vector."""
    family = FAMILIES[name]
    x, context = noise(*family.latent, seed=4), noise(1, TOKENS, family.context, seed=5)
    if family.sound:
        x = [x, noise(*family.sound, seed=6)]
    out = patcher.model.diffusion_model(x, torch.tensor([0.5]), context, **family.inputs())
    return torch.cat([part.float().flatten() for part in (out if isinstance(out, list | tuple) else [out])])
