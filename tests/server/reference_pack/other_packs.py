"""What other packs give a graph and ComfyUI itself cannot: a block that is compiled, and encoders of a small size."""

import gc

import comfy.sd
import comfy.sd1_clip
import comfy.text_encoders.flux
import torch
from comfy_api.latest import io

SMALL_T5 = {"vocab_size": 32128, "d_model": 64, "num_heads": 4, "d_kv": 16, "d_ff": 160, "num_layers": 2}
SMALL_CLIP = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 2}
SMALL = {"dtype": torch.float32, "t5xxl_model_config": SMALL_T5, "clip_l_model_config": SMALL_CLIP}


class CompiledBlock(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="CompiledBlock", inputs=[io.Model.Input("model")], outputs=[io.Model.Output()])

    @classmethod
    def execute(cls, model):
        clone = model.clone()
        clone.add_object_patch("diffusion_model.blocks.0", torch.compile(model.model.diffusion_model.blocks[0]))
        return io.NodeOutput(clone)


class SmallEncoders(io.ComfyNode):
    """CLIP-L with random weights, and beside it a T5 if `two`."""

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="SmallEncoders", inputs=[io.Boolean.Input("two")], outputs=[io.Clip.Output()])

    @classmethod
    def execute(cls, two):
        class Target:
            clip = comfy.text_encoders.flux.flux_clip() if two else comfy.sd1_clip.SD1ClipModel
            tokenizer = comfy.text_encoders.flux.FluxTokenizer if two else comfy.sd1_clip.SD1Tokenizer
            params = {}  # noqa: RUF012 - core's CLIP reads it as an attribute and copies it

        clip = comfy.sd.CLIP(Target, model_options=SMALL)
        generator = torch.Generator().manual_seed(0)
        for parameter in clip.cond_stage_model.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
        return io.NodeOutput(clip)


class LiveTensors(io.ComfyNode):
    """How many tensors this process holds. number: another one makes core count again."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LiveTensors", inputs=[io.Int.Input("number", max=10**9)], outputs=[], is_output_node=True
        )

    @classmethod
    def execute(cls, number):
        gc.collect()
        count = sum(issubclass(type(held), torch.Tensor) for held in gc.get_objects())
        return io.NodeOutput(ui={"text": [str(count)]})
