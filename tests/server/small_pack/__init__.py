"""What tests of official workflows need beside ComfyUI: small text encoders in place of core's loaders, a node that
holds the queue, and diffusion models smaller than any real one.

The loaders have the inputs of CLIPLoader and DualCLIPLoader, so that a prompt only has to name them instead.
"""

import importlib.util
import json
import time
from pathlib import Path

import comfy.model_detection
import comfy.model_management
import folder_paths
from comfy_api.latest import ComfyExtension, io

ENCODERS = Path(__file__).resolve().parents[2] / "small_encoders.py"
spec = importlib.util.spec_from_file_location("x2v_small_encoders", ENCODERS)
small_encoders = importlib.util.module_from_spec(spec)
spec.loader.exec_module(small_encoders)

SMALL = "small"  # see official_models.py
detect_of_core = comfy.model_detection.detect_unet_config


def detect_small(state_dict, key_prefix, metadata=None):
    """Core reads the sizes of Wan and LTX off a file's metadata, those of other families off the weights or not at all:
    this test server takes all of them from there."""
    sizes = json.loads((metadata or {}).get("config", "{}")).get(SMALL)
    return dict(sizes) if sizes else detect_of_core(state_dict, key_prefix, metadata=metadata)


comfy.model_detection.detect_unet_config = detect_small


def schema(node_id, *files):
    """Of a loader whose inputs `files` name files of models/text_encoders."""
    names = folder_paths.get_filename_list("text_encoders")
    return io.Schema(
        node_id=node_id,
        inputs=[
            *(io.Combo.Input(name, options=names) for name in files),
            io.Combo.Input("type", options=list(small_encoders.ENCODERS)),
            io.Combo.Input("device", options=["default", "cpu"], optional=True),
        ],
        outputs=[io.Clip.Output()],
    )


def loaded(kind, *files):
    paths = [folder_paths.get_full_path_or_raise("text_encoders", file) for file in files]
    return io.NodeOutput(small_encoders.load(paths, kind))


class SmallCLIPLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema("SmallCLIPLoader", "clip_name")

    @classmethod
    def execute(cls, clip_name, type, device="default"):
        return loaded(type, clip_name)


class SmallDualCLIPLoader(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema("SmallDualCLIPLoader", "clip_name1", "clip_name2")

    @classmethod
    def execute(cls, clip_name1, clip_name2, type, device="default"):
        return loaded(type, clip_name1, clip_name2)


class HoldQueue(io.ComfyNode):
    """Runs until it is interrupted: what is queued behind it is validated and waits."""

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="HoldQueue", inputs=[], outputs=[], is_output_node=True)

    @classmethod
    def fingerprint_inputs(cls):
        return time.monotonic()

    @classmethod
    def execute(cls):
        while True:
            comfy.model_management.throw_exception_if_processing_interrupted()
            time.sleep(0.05)


class SmallPack(ComfyExtension):
    async def get_node_list(self):
        return [SmallCLIPLoader, SmallDualCLIPLoader, HoldQueue]


async def comfy_entrypoint():
    return SmallPack()
