"""What a family's files leave to others: constants of the code, tensors in files beside, and other models in them."""

import torch
from family_files import FAMILIES, metadata_of, tensors_of, write
from older_comfyui import core_knows_minimax_h3, core_knows_seedvr2
from safetensors.torch import load_file, save_file

from x2v_quant.checkpoints import open_checkpoint


@core_knows_minimax_h3
def test_a_constant_of_the_code_is_a_tensor_of_the_checkpoint(tmp_path):
    """One that the file has all the same is taken as it is."""
    path, name = tmp_path / "model.safetensors", "rope.inv_freq"
    write(path, "minimax-h3", "fp8", tensors_of("minimax-h3"))
    assert name not in load_file(path)
    checkpoint = open_checkpoint(path)
    assert torch.equal(checkpoint.load().plain[name], FAMILIES["minimax-h3"].constants[name])
    assert f"{name} is not in the file, and computed for ComfyUI's model" in checkpoint.notes
    own = torch.arange(16.0)
    save_file({**load_file(path), name: own}, path)
    assert torch.equal(open_checkpoint(path).load().plain[name], own)
    assert not open_checkpoint(path).added


@core_knows_seedvr2
def test_what_lies_beside_the_file_is_a_tensor_of_the_checkpoint(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = tensors_of("seedvr2")
    write(path, "seedvr2", "fp8", tensors)
    checkpoint = open_checkpoint(path)
    assert checkpoint.notes[:2] == [
        f"{text}_conditioning is not in the file, and taken from {text[:3]}_emb.pt beside it"
        for text in ("positive", "negative")
    ]
    plain = checkpoint.load().plain
    assert all(torch.equal(plain[name].float(), tensors[name]) for name in FAMILIES["seedvr2"].companions)
    (tmp_path / "neg_emb.pt").unlink()
    (problem,) = open_checkpoint(path).problems
    assert problem.key == "negative_conditioning"
    assert problem.remedy.endswith(f" and save it as {tmp_path / 'neg_emb.pt'}.")


# as published, LTX-2 has its VAEs and the projection of its text in one file with the diffusion model
BESIDE_LTX_2 = (
    "vae.decoder.conv_in.conv.weight",
    "audio_vae.decoder.conv_in.conv.weight",
    "vocoder.conv_pre.weight",
    "text_embedding_projection.aggregate_embed.weight",
)


def test_other_models_in_a_file_of_ltx_2_are_left_out(tmp_path):
    path = tmp_path / "model.safetensors"
    write(path, "ltx-2", "fp8-tensor", tensors_of("ltx-2"))
    alone = open_checkpoint(path)
    others = {key: torch.zeros(2, 2) for key in BESIDE_LTX_2}
    save_file({**load_file(path), **others}, path, metadata_of("ltx-2"))
    found = open_checkpoint(path)
    assert (found.model, found.problems) == ("LTX-2", [])
    assert found.tensors.keys() == alone.tensors.keys() and found.layers.keys() == alone.layers.keys()
    assert found.load().plain.keys() == alone.load().plain.keys()
    (note,) = set(found.notes) - set(alone.notes)
    assert note.startswith("4 tensors of other models (")
