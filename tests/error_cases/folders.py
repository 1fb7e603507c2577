"""Models in several files of which something is wrong, and files that are no models."""

from pathlib import Path

import torch

from x2v_quant.common import limits

from .case import file, folder
from .configurations import configured
from .place import demo
from .wan import LAYER, wan

INDEX = "model.safetensors.index.json"
SHARDS = ("a-00001-of-00002.safetensors", "a-00002-of-00002.safetensors")
BLOCKS = ("block_0.safetensors", "block_1.safetensors", "non_block.safetensors")
WHOLE = wan()
PARTS = (
    {key: tensor for key, tensor in WHOLE.items() if key.startswith("blocks.1.")},
    {key: tensor for key, tensor in WHOLE.items() if not key.startswith("blocks.1.")},
)
NAMES = {key: file for file, part in zip(SHARDS, PARTS, strict=True) for key in part}
SOUND = {**dict(zip(SHARDS, PARTS, strict=True)), INDEX: {"weight_map": NAMES}}
# a folder is in the list as what it is named like; an index that is broken does not make it one
SINGLE = "model.safetensors"
# a file that can be opened and not be read
FAILS = Path("/proc/self/mem")


def index(text: str, *words: str):
    return folder({SINGLE: WHOLE, INDEX: text}, *words, pick=SINGLE)


CASES = {
    "not a model": file(b"hello", "model.pkl is not a model file. Models end in .safetensors", name="model.pkl"),
    "gguf": configured(
        {"dit_quantized": True, "dit_quantized_ckpt": "model.gguf"},
        "model.gguf is a GGUF file. Load it with the ComfyUI-GGUF pack.",
        files={"model.gguf": b"GGUF"},
    ),
    "a part": configured(
        {"dit_quantized": True, "dit_quantized_ckpt": SHARDS[1]},
        f"{SHARDS[1]} is only a part of a model. Choose the folder ",
        "/, or give the parts one of their own.",
        files=SOUND,
    ),
    "two indexes": folder(
        {**SOUND, f"b.{INDEX}": {"weight_map": NAMES}},
        f"has more than one model: b.{INDEX}, {INDEX}. Give each a folder of its own.",
    ),
    "no index": folder(
        dict(zip(("x_part1.safetensors", "x_part2.safetensors"), PARTS, strict=True)),
        "has the parts of a model without their index. Put the model's *.safetensors.index.json beside them.",
    ),
    "numbers of two": folder(
        {**dict(zip(SHARDS, PARTS, strict=True)), "x-00001-of-00002.safetensors": WHOLE},
        f"has more than one model: {SHARDS[0]}, {SHARDS[1]} and 1 more. Give each a folder of its own.",
    ),
    "a number is missing": folder({SHARDS[1]: PARTS[1]}, f"lacks {SHARDS[0]}. Download {SHARDS[0]} into it."),
    "shards of two": folder(
        {SHARDS[1]: PARTS[1], "x.safetensors": WHOLE},
        f"has more than one model: {SHARDS[1]}, x.safetensors. Give each a folder of its own, or choose ",
        "a file like x.safetensors.",
    ),
    "outside": folder(
        {**SOUND, INDEX: {"weight_map": {**NAMES, "a": "../secret.safetensors"}}},
        f"{INDEX} names no safetensors files of its own folder. Download it again.",
    ),
    "missing shard": folder(
        {SHARDS[1]: PARTS[1], INDEX: {"weight_map": NAMES}},
        f"{INDEX} names {SHARDS[0]}, which is not there. Download {SHARDS[0]} into",
    ),
    "index": index("{", f"{INDEX} is no JSON. Download it again."),
    "weight_map": index('{"weight_map": []}', f"{INDEX}: weight_map is no table of file names. Download it again."),
    "names in an index": index(
        '{"weight_map": {"a\\nproblems: none": "b"}}',
        f"{INDEX}: weight_map has names that are not text. Download it again.",
    ),
    "a large index": index(
        " " * (limits.INDEX_BYTES + 1),
        f"{INDEX} is 32.0 MB large; the index of a model has at most 32.0 MB. Remove it, or get the model's own.",
    ),
    "unreadable": file(
        FAILS,
        f"{SINGLE} cannot be read: Input/output error. Check the file and its permissions.",
        linux=True,
    ),
    "blocks of two": folder(
        {BLOCKS[0]: PARTS[0], "t5.safetensors": WHOLE},
        f"has more than one model: t5.safetensors, {BLOCKS[0]}. Give each a folder of its own, or choose a ",
        "file like t5.safetensors.",
    ),
    "missing block": folder(
        {BLOCKS[1]: PARTS[0], BLOCKS[2]: PARTS[1]}, f"lacks {BLOCKS[0]}. Download {BLOCKS[0]} into it."
    ),
    "twice": folder(
        {**SOUND, SHARDS[1]: {**PARTS[1], f"{LAYER}.weight_scale": torch.ones(1)}},
        f"{SHARDS[1]}: {LAYER}.weight_scale is also in {SHARDS[0]}. The folder mixes two models: keep one of them.",
    ),
    "not in its shard": folder(
        {**SOUND, INDEX: {"weight_map": {**NAMES, "blocks.9.x": SHARDS[0]}}},
        f"{SHARDS[0]}: blocks.9.x is named by the index but is not there. Download {SHARDS[0]} again.",
    ),
    "more than the model": file(
        demo("t2v", lambda tensors: tensors.update({"model.diffusion_model.x": torch.zeros(2)})),
        f"{SINGLE}: ",
        "is not part of the diffusion model (model.diffusion_model.*). Take a file with the diffusion model",
    ),
}
