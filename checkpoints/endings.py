"""How the names of model files end, and of the JSON that lists the shards of one."""

from ..writing import PARTIAL

SAFETENSORS = (".safetensors", ".sft")
# what this pack is writing and has given no name yet: in no list, and no model for those who load one
UNNAMED = (PARTIAL,)
TORCH = (".pth", ".pt", ".ckpt", ".bin")
INDEX_SUFFIX = ".safetensors.index.json"
# how an index ends -> how the files end that it may name; where a folder has several, the first one is taken
INDEXES = {INDEX_SUFFIX: SAFETENSORS, **{f"{ending}.index.json": TORCH for ending in TORCH}}
KINDS = {SAFETENSORS: "safetensors", TORCH: "PyTorch"}
