"""Whole files that are another model than they are taken for, or lack a part of one."""

from pathlib import Path

import torch
from family_files import tensors_of

from .case import ErrorCase, file, loaded
from .place import Place, demo, without
from .wan import made, wan

FIXTURES = Path(__file__).parent.parent / "fixtures"
CLIP = "models_clip_open-clip-xlm-roberta-large-vit-huge-14-int8.pth"
INCOMPLETE = "The file is incomplete or was made for another version of this model: download it again."
SAVED = "model.pth"


def clip(change):
    """A vision encoder as the content of a file. change: edits its tensors."""

    def read(place: Place):
        tensors = torch.load(FIXTURES / CLIP, weights_only=True)
        change(tensors)
        return tensors

    return read


def halved(*keys: str):
    """A `change` that leaves these tensors half of their rows."""

    def change(tensors: dict[str, torch.Tensor]) -> None:
        for key in keys:
            tensors[key] = tensors[key][: len(tensors[key]) // 2].clone()

    return change


def quantized(layer: str) -> tuple[str, str]:
    return f"{layer}.weight", f"{layer}.weight_scale"


def beside(name: str, value):
    """A SeedVR2 with a file beside it."""

    def read(place: Place):
        place.put("diffusion_models", name, value)
        return SEEDVR2

    return read


def in_parts(place: Place):
    for part in ("block_0", "non_block"):
        place.put("text_encoders", f"{part}.safetensors", {f"{T5}.{part}": torch.ones(8)})
    return loaded("X2VLoadT5", place.named(""))


T5 = "encoder.block.0.layer.0.SelfAttention.q"
SEEDVR2 = {
    "vid_in.proj.bias": torch.zeros(4),
    **{f"blocks.0.attn.proj_qkv.vid.{end}": part for end, part in made("int8").items()},
}
UNKNOWN = {f"layers.0.mystery.{end}": part for end, part in made("int8").items()}
LORA = {"blocks.0.ffn.0.lora_A.weight": torch.zeros(4, 4), "blocks.0.ffn.0.lora_B.weight": torch.zeros(4, 4)}
CASES = {
    "configuration": file(
        demo("t2v", kind="int8", metadata={"config": "[]"}),
        "model.safetensors: config in its metadata describes no model that ComfyUI can build of these tensors.",
        "Get this model as another file, or without that entry.",
    ),
    "configuration beyond any": file(
        demo("t2v", kind="int8", metadata={"config": '{"transformer": {"num_layers": 1000000}}'}),
        "model.safetensors: config in its metadata asks for a model of 'num_layers' that is larger than any model has.",
    ),
    "configuration of another model": file(
        demo("t2v", kind="int8", metadata={"config": '{"transformer": {"freq_dim": 128}}'}),
        "model.safetensors: time_embedding.0.weight has shape [",
        "The file is incomplete, or config in its metadata is of another model: get it again, or without that entry.",
    ),
    "shapes of no model": file(
        demo("t2v", lambda tensors: tensors.update({"head.modulation": torch.zeros(())}), metadata={"a": "b"}),
        "model.safetensors has tensors whose shapes make no model that ComfyUI can build. The file is incomplete or",
    ),
    "text encoder": file(
        demo("t5"), f"{SAVED} (umt5 encoder) belongs in Load Quantized T5, which lists the files of", name=SAVED
    ),
    "add-on": file(
        {"vace_blocks.0.self_attn.q.weight": torch.zeros(8, 8)},
        "model.safetensors is VACE's modules for Wan, an add-on. It does not load alone: get Wan VACE as one file",
    ),
    "no model": file(
        {"blocks.0.self_attn.q.weight": torch.zeros(8, 8)},
        "model.safetensors is not a model that is known here: the nearest known one is Wan 2.1 t2v, but names like "
        "head.modulation are not there. The loaders here take",
    ),
    "lora": file(LORA, "model.safetensors is a LoRA. Put it into models/loras and use Load LoRA (any format)."),
    "another encoder, quantized": file(
        {f"{T5}.weight": torch.ones(8, 8, dtype=torch.int8), f"{T5}.weight_scale": torch.ones(8, 1)},
        "model.safetensors is a T5 encoder other than umt5. Put it into models/text_encoders and use Load CLIP. "
        f"That reads no quantized layers like {T5}.weight: get it in 16 bits.",
        loader="X2VLoadT5",
    ),
    "another encoder, in parts": ErrorCase(
        "X2VLoadT5",
        in_parts,
        ("is a T5 encoder other than umt5.", "That reads no folders: get it as one file in 16 bits."),
    ),
    "a whole checkpoint": file(
        {
            "model.diffusion_model.head.modulation": torch.ones(1, 2, 8),
            "model.diffusion_model.blocks.0.self_attn.q.weight": torch.ones(8, 8),
            "first_stage_model.x": torch.ones(2),
        },
        "model.safetensors: first_stage_model.x is not part of the diffusion model (model.diffusion_model.*). Put it "
        "into models/checkpoints and use Load Checkpoint, or take a file with the diffusion model alone.",
    ),
    "several": file(
        {**wan(), "blocks.0.x.weight_scale": torch.ones(1), "blocks.2.x.weight_scale": torch.ones(1)},
        "is a scale without a weight.",
        "(1 more like this: see x2v-quant inspect.)",
    ),
    "not quantized": file(
        demo("t2v", kind="bf16"),
        "model.safetensors (Wan 2.1 t2v) is not quantized. Load it with ComfyUI's own Load Diffusion Model.",
    ),
    "not quantized, and not core's": file(
        demo("clip", kind="bf16"),
        f"{SAVED} (CLIP ViT vision encoder (XLM-R)) is not quantized. Pick its int8 or fp8 file here, make one",
        name=SAVED,
        loader="X2VLoadCLIPVision",
    ),
    "tensor": file(
        demo("t2v", without("blocks.1.ffn.0.bias")), f"model.safetensors: blocks.1.ffn.0.bias is missing. {INCOMPLETE}"
    ),
    "more": file(
        demo("t2v", lambda tensors: tensors.update({"blocks.1.extra.weight": torch.zeros(3)})),
        "model.safetensors: blocks.1.extra.weight has no place in ComfyUI's model. The file belongs to",
        "update ComfyUI or use another file.",
    ),
    "dimension": file(
        demo("t2v", without("patch_embedding.weight")),
        f"model.safetensors: patch_embedding.weight is missing. {INCOMPLETE}",
    ),
    "unknown": file(
        UNKNOWN,
        "model.safetensors is no diffusion model that ComfyUI recognises. Update ComfyUI or use another file.",
    ),
    "text of another file": file(
        SEEDVR2,
        "model.safetensors: positive_conditioning is not there, and pos_emb.pt is not beside the model. Download",
        "pos_emb.pt of ByteDance-Seed/SeedVR2-3B and save it as ",
        "pos_emb.pt.",
    ),
    "another text": file(
        beside("pos_emb.pt", {"text": torch.ones(58, 5120)}),
        "pos_emb.pt is not one tensor of shape [58, 5120]. Download it from ByteDance-Seed/SeedVR2-3B.",
    ),
    "text encoder's norm": file(
        demo("t5", without("norm.weight")),
        f"{SAVED}: encoder.final_layer_norm.weight is missing. {INCOMPLETE}",
        name=SAVED,
        loader="X2VLoadT5",
    ),
    "vision encoder's dimension": file(
        clip(without("visual.patch_embedding.weight")),
        f"{SAVED}: vision_model.embeddings.patch_embedding.weight is missing. {INCOMPLETE}",
        name=SAVED,
        loader="X2VLoadCLIPVision",
    ),
    "shape": file(
        demo("t2v", halved(*quantized("blocks.1.ffn.2"))),
        f"model.safetensors: blocks.1.ffn.2.weight has shape [64, 512], the model wants [128, 512]. {INCOMPLETE}",
    ),
    "shape of what is not quantized": file(
        demo("t2v", halved("blocks.0.norm3.weight", "blocks.1.ffn.0.bias")),
        "model.safetensors: blocks.0.norm3.weight has shape [64], the model wants [128] (and 1 more). ",
        INCOMPLETE,
    ),
    "text encoder's shape": file(
        demo("t5", halved(*quantized("blocks.1.ffn.fc2"))),
        f"{SAVED}: encoder.block.1.layer.1.DenseReluDense.wo.weight has shape [64, 256], the model wants [128, 256]. ",
        INCOMPLETE,
        name=SAVED,
        loader="X2VLoadT5",
    ),
    "text encoder's shape of what is not quantized": file(
        demo("t5", halved("norm.weight")),
        f"{SAVED}: encoder.final_layer_norm.weight has shape [64], the model wants [128]. {INCOMPLETE}",
        name=SAVED,
        loader="X2VLoadT5",
    ),
    "vision encoder's shape": file(
        clip(halved(*quantized("visual.transformer.1.attn.proj"))),
        f"{SAVED}: vision_model.encoder.layers.1.self_attn.out_proj.weight has shape [",
        ", the model wants [",
        INCOMPLETE,
        name=SAVED,
        loader="X2VLoadCLIPVision",
    ),
    "vision encoder's shape of what is not quantized": file(
        clip(halved("visual.post_norm.bias")),
        f"{SAVED}: vision_model.post_layernorm.bias has shape [",
        ", the model wants [",
        INCOMPLETE,
        name=SAVED,
        loader="X2VLoadCLIPVision",
    ),
}


def flux(place: Place, **more) -> dict[str, torch.Tensor]:
    """ComfyUI's own names of a small Flux, which has no blocks.0."""
    return {key: tensor.to(torch.bfloat16) for key, tensor in tensors_of("flux", more).items()}


def gated_flux(place: Place) -> dict[str, torch.Tensor]:
    """One whose single blocks have a gate beside q, k, v and the feed-forward."""
    return flux(place, yak_mlp=True)


def narrow(width: int):
    """A change of the demo's unquantized model to a feed-forward of so many channels."""

    def change(tensors: dict[str, torch.Tensor]) -> None:
        for key, tensor in tensors.items():
            if ".ffn.0." in key:
                tensors[key] = tensor[:width].clone()
            elif key.endswith(".ffn.2.weight"):
                tensors[key] = tensor[:, :width].clone()

    return change
