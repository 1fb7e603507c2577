"""The trained parts in the repository: small, 16-bit, whole, of the shapes that the demo is written from, and good."""

import json
import shutil

import comfy.sd
import pytest
import sentencepiece
import torch

from x2v_quant.benchmarks import encoders, wan
from x2v_quant.checkpoints import CheckpointError
from x2v_quant.demo import recipe, trained
from x2v_quant.demo.reading import read
from x2v_quant.demo.scenes import HELD_OUT, SCENES, render

LARGEST = 6_000_000  # bytes, all files together
SIZE = wan.WanSize(dim=128, ffn=512, blocks=4, text=128)
TEXT_FFN, TEXT_BLOCKS = 256, 2
PARTS = {
    "dit": (trained.dit, torch.bfloat16),
    "i2v": (trained.image_to_video, torch.bfloat16),
    "t5": (trained.umt5, torch.bfloat16),
    "clip": (trained.clip_vision, torch.float16),
    "vae": (trained.vae, torch.float16),
}
every_part = pytest.mark.parametrize("part", PARTS)


def shapes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_all_files_together_are_small():
    assert sum((trained.FOLDER / name).stat().st_size for name in trained.FILES) < LARGEST


def test_there_are_no_others():
    """Beside the models, see test_shipped.py."""
    names = {name for name in (*trained.FILES, trained.RECORD) if name.startswith("sources/")}
    assert {f"sources/{path.name}" for path in (trained.FOLDER / "sources").iterdir()} == names


@every_part
def test_every_tensor_is_of_16_bits_and_finite(part):
    read_part, dtype = PARTS[part]
    tensors = read_part()
    assert {tensor.dtype for tensor in tensors.values()} == {dtype}
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


@pytest.mark.parametrize(
    ("part", "like"),
    [
        ("dit", lambda: wan.dit(0, SIZE, image_to_video=False)),
        ("t5", lambda: encoders.umt5(0, encoders.pieces(trained.spiece()), SIZE.text, TEXT_FFN, TEXT_BLOCKS)),
        ("clip", lambda: encoders.clip_vision(0, 80, 160, 2, projection=SIZE.text)),
        ("vae", lambda: wan.vae(0)),
    ],
)
def test_names_and_shapes_are_those_of_the_architecture(part, like):
    assert shapes(PARTS[part][0]()) == shapes(like())


def test_tokenizer_has_umt5s_special_ids_and_knows_every_caption():
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=trained.spiece())
    assert (tokenizer.pad_id(), tokenizer.eos_id(), tokenizer.unk_id()) == (0, 1, 2)
    captions = [*(caption for scene in SCENES for caption in scene.captions), recipe.PROMPT]
    assert not any(tokenizer.unk_id() in tokenizer.encode(caption) for caption in captions)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "t2v_bf16.safetensors, a part of the demo model, is not in .*install it again"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), r"t2v_bf16\.safetensors is cut off"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
    ],
    ids=["missing", "truncated", "pointer"],
)
def test_an_incomplete_checkout_is_one_sentence(tmp_path, damage, message):
    folder = tmp_path / "demo"
    for part in (trained.DIT, trained.VAE):
        (folder / part).parent.mkdir(parents=True)
        shutil.copyfile(trained.FOLDER / part, folder / part)
    damage(folder / trained.DIT)
    with pytest.raises(CheckpointError, match=message):
        trained.dit(folder)
    assert trained.vae(folder)


def test_without_its_tokenizer_the_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"spiece\.model, a part of the demo model"):
        trained.spiece(tmp_path)


def test_the_record_says_how_good_each_part_was_after_training():
    record = json.loads((trained.FOLDER / trained.RECORD).read_text(encoding="utf-8"))
    assert set(record) == {"vae", "dit", "clip", "i2v"}
    assert all(entry["seconds"] > 0 for entry in record.values())
    for name in ("colour", "shape", "direction"):
        assert record["vae"]["reconstructions"][name] >= 0.95
        assert record["dit"]["prompts"][name] >= 0.9
    assert record["clip"]["frames"]["kind"] >= 0.9


def test_comfyuis_vae_keeps_what_a_scene_shows(inference):
    vae = comfy.sd.VAE(sd=trained.vae())
    scenes = HELD_OUT[::2]
    videos = render(list(scenes), torch.Generator().manual_seed(3))
    right = [read(vae.decode(vae.encode(video))[0]).matches(scene) for video, scene in zip(videos, scenes, strict=True)]
    for name in ("colour", "shape", "direction"):
        assert sum(hit[name] for hit in right) >= len(scenes) - 1, name
