"""Names of the files of a model in parts, and its tensors dealt out among them."""

INDEX = "diffusion_pytorch_model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
BIN = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
PT = ("diffusion_pytorch_model-00001-of-00002.pt", "diffusion_pytorch_model-00002-of-00002.pt")
CKPT = ("wan-00001-of-00002.ckpt", "wan-00002-of-00002.ckpt")
BLOCKS = ("block_0.safetensors", "block_1.safetensors", "non_block.safetensors")


def split(tensors, files):
    """File -> its tensors: every file gets the block of its number, the last one what is left."""
    parts = {name: {k: t for k, t in tensors.items() if k.startswith(f"blocks.{i}.")} for i, name in enumerate(files)}
    placed = {key for part in parts.values() for key in part}
    parts[files[-1]].update({k: t for k, t in tensors.items() if k not in placed})
    return parts
