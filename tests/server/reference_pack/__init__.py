"""Nodes that load the demo's unquantized encoders with nothing but ComfyUI's own layers: what ours are compared with.

ComfyUI itself knows neither their key names nor sizes as small as these.
"""

import re
from pathlib import Path

import comfy.clip_vision
import comfy.sd
import comfy.text_encoders.wan
import comfy.utils
import folder_paths
import torch
from comfy_api.latest import ComfyExtension, io

from .other_packs import CompiledBlock, LiveTensors, SmallEncoders
from .text import ReferenceText

T5_NAMES = (
    (r"^token_embedding\.", "shared."),
    (r"^norm\.", "encoder.final_layer_norm."),
    (r"^blocks\.(\d+)\.norm1\.", r"encoder.block.\1.layer.0.layer_norm."),
    (r"^blocks\.(\d+)\.norm2\.", r"encoder.block.\1.layer.1.layer_norm."),
    (r"^blocks\.(\d+)\.attn\.", r"encoder.block.\1.layer.0.SelfAttention."),
    (r"^blocks\.(\d+)\.pos_embedding\.embedding\.", r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias."),
    (r"^blocks\.(\d+)\.ffn\.gate\.0\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_0."),
    (r"^blocks\.(\d+)\.ffn\.fc1\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_1."),
    (r"^blocks\.(\d+)\.ffn\.fc2\.", r"encoder.block.\1.layer.1.DenseReluDense.wo."),
)
CLIP_NAMES = (
    (r"^visual\.cls_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^visual\.pos_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.patch_embedding\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.pre_norm\.", "vision_model.pre_layrnorm."),
    (r"^visual\.post_norm\.", "vision_model.post_layernorm."),
    (r"^visual\.head$", "visual_projection.weight"),
    (r"^visual\.transformer\.(\d+)\.norm1\.", r"vision_model.encoder.layers.\1.layer_norm1."),
    (r"^visual\.transformer\.(\d+)\.norm2\.", r"vision_model.encoder.layers.\1.layer_norm2."),
    (r"^visual\.transformer\.(\d+)\.attn\.proj\.", r"vision_model.encoder.layers.\1.self_attn.out_proj."),
    (r"^visual\.transformer\.(\d+)\.mlp\.0\.", r"vision_model.encoder.layers.\1.mlp.fc1."),
    (r"^visual\.transformer\.(\d+)\.mlp\.2\.", r"vision_model.encoder.layers.\1.mlp.fc2."),
)
HEADS = 4  # of the demo's T5


def renamed(tensors, names):
    result = {}
    for key, tensor in tensors.items():
        new = key
        for pattern, replacement in names:
            new = re.sub(pattern, replacement, new)
        result[new] = tensor.float()
    return result


class ReferenceT5(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        files = folder_paths.get_filename_list("text_encoders")
        return io.Schema(
            node_id="ReferenceT5",
            inputs=[io.Combo.Input("text_encoder_name", options=files)],
            outputs=[io.Clip.Output()],
        )

    @classmethod
    def execute(cls, text_encoder_name):
        path = Path(folder_paths.get_full_path_or_raise("text_encoders", text_encoder_name))
        stored = comfy.utils.load_torch_file(str(path))
        spiece = stored.pop("spiece_model")
        tensors = renamed(stored, T5_NAMES)
        vocabulary, width = tensors["shared.weight"].shape

        class Target:
            clip = comfy.text_encoders.wan.te()
            tokenizer = comfy.text_encoders.wan.WanT5Tokenizer
            params = {}  # noqa: RUF012 - core's CLIP reads it as an attribute and copies it

        config = {
            "vocab_size": vocabulary,
            "d_model": width,
            "num_heads": HEADS,
            "d_kv": width // HEADS,
            "d_ff": tensors["encoder.block.0.layer.1.DenseReluDense.wo.weight"].shape[1],
            "num_layers": sum(key.endswith(".SelfAttention.q.weight") for key in tensors),
        }
        clip = comfy.sd.CLIP(
            Target,
            tokenizer_data={"spiece_model": spiece},
            model_options={"dtype": torch.float32, "umt5xxl_model_config": config},
        )
        clip.cond_stage_model.umt5xxl.transformer.load_state_dict(tensors, strict=True)
        return io.NodeOutput(clip)


class ReferenceCLIPVision(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        files = folder_paths.get_filename_list("clip_vision")
        return io.Schema(
            node_id="ReferenceCLIPVision",
            inputs=[io.Combo.Input("clip_name", options=files)],
            outputs=[io.ClipVision.Output()],
        )

    @classmethod
    def execute(cls, clip_name):
        path = folder_paths.get_full_path_or_raise("clip_vision", clip_name)
        tensors = renamed(comfy.utils.load_torch_file(path), CLIP_NAMES)
        del tensors["log_scale"]
        for name in ("class_embedding", "position_embedding.weight"):  # Wan keeps them with a batch dimension
            key = f"vision_model.embeddings.{name}"
            tensors[key] = tensors[key].squeeze()
        tensors["visual_projection.weight"] = tensors["visual_projection.weight"].T
        for key in [key for key in tensors if ".attn.to_qkv." in key]:
            _, _, number, _, _, kind = key.split(".")
            for name, part in zip("qkv", tensors.pop(key).chunk(3), strict=True):
                tensors[f"vision_model.encoder.layers.{number}.self_attn.{name}_proj.{kind}"] = part
        layers = sum(key.endswith(".q_proj.weight") for key in tensors)
        config = {
            "hidden_act": "gelu",
            "hidden_size": 1280,
            "image_size": 224,
            "intermediate_size": tensors["vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
            "num_attention_heads": 16,
            "num_channels": 3,
            "num_hidden_layers": layers,
            "patch_size": 14,
            "projection_dim": tensors["visual_projection.weight"].shape[0],
            "model_type": "clip_vision_model",
        }
        clip_vision = comfy.clip_vision.ClipVisionModel(config)
        missing, unexpected = clip_vision.load_sd(tensors)
        assert not missing, missing
        assert not unexpected, unexpected
        return io.NodeOutput(clip_vision)


class ReferencePack(ComfyExtension):
    async def get_node_list(self):
        return [ReferenceT5, ReferenceCLIPVision, ReferenceText, CompiledBlock, SmallEncoders, LiveTensors]


async def comfy_entrypoint():
    return ReferencePack()
