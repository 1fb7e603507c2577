"""What is trained is what ComfyUI runs: each part's training code against core's own."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from distance import distance
from name_tables import targets_of

from x2v_quant.demo import trained, widen
from x2v_quant.demo.scenes import SCENES, render

ALONE = 1e-4  # relative: float32 in another order


@pytest.fixture(scope="module")
def videos():
    return render(list(SCENES[:3]), torch.Generator().manual_seed(3))


def renamed(model: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {place.name: place.take(tensor) for name, tensor in tensors.items() for place in targets_of(model, name)}


@pytest.fixture(scope="module")
def load(comfyui):
    from x2v_quant.benchmarks.train_demo import files

    return lambda part: files.load(trained.FOLDER, part)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5, 9])
def test_vae_on_whole_clips_equals_cores_frame_by_frame(load, videos, frames):
    from x2v_quant.benchmarks.train_demo import vae

    model = vae.new(0)
    model.load_state_dict(load(trained.VAE))
    clip = videos[:, :frames].permute(0, 4, 1, 2, 3) * 2 - 1
    latents = vae.encode(model, clip)
    assert latents.shape == (3, 16, 1 + (frames - 1) // 4, 8, 8)
    assert distance(latents, model.encode(clip)) < ALONE
    assert distance(vae.decode(model, latents), model.decode(latents)) < ALONE


@torch.no_grad()
def test_a_new_vae_repeats_what_it_does_to_a_picture(videos):
    """Before training, time is left alone: a still clip comes out as its picture does."""
    from x2v_quant.benchmarks.train_demo import vae

    model = vae.new(0)
    picture = videos[:, :1].permute(0, 4, 1, 2, 3)
    still = model.decode(model.encode(picture.expand(-1, -1, 9, -1, -1)))
    assert distance(still, model.decode(model.encode(picture)).expand_as(still)) < ALONE


@pytest.mark.slow
@torch.no_grad()
def test_folding_gives_wans_latents_and_changes_no_picture(load, videos):
    import comfy.latent_formats

    from x2v_quant.benchmarks.train_demo import vae

    model = vae.new(0)
    model.load_state_dict(load(trained.VAE))
    clip = videos.permute(0, 4, 1, 2, 3) * 2 - 1
    before = vae.decode(model, vae.encode(model, clip))
    for name in ("conv1", "conv2"):  # away from where they are
        getattr(model, name).weight.mul_(1.5)
    unfolded = vae.decode(model, vae.encode(model, clip))
    vae.fold(model, vae.statistics(model, torch.Generator().manual_seed(0), torch.device("cpu"), 4))
    assert distance(vae.decode(model, vae.encode(model, clip)), unfolded) < 1e-3
    assert distance(before, unfolded) > 1e-3
    latents = torch.cat([vae.encode(model, vae.clips(48, torch.Generator().manual_seed(1)))])
    standard = comfy.latent_formats.Wan21().process_in(latents).transpose(0, 1).flatten(1)
    # another sample differs by this much
    assert standard.mean(1).abs().max() < 0.3
    assert (standard.std(1) - 1).abs().max() < 0.3


@torch.no_grad()
def test_text_encoder_equals_cores(load):
    import comfy.ops
    from comfy.text_encoders.t5 import T5

    from x2v_quant.benchmarks.encoders import HEADS
    from x2v_quant.benchmarks.train_demo.text import BLOCKS, FFN, WIDTH, Text

    text = Text(1, (trained.FOLDER / trained.SPIECE).read_bytes())
    text.fill(load(trained.T5))
    config = {
        "num_layers": BLOCKS,
        "d_model": WIDTH,
        "d_kv": WIDTH // HEADS,
        "num_heads": HEADS,
        "d_ff": FFN,
        "dense_act_fn": "gelu_pytorch_tanh",
        "is_gated_act": True,
        "model_type": "umt5",
        "vocab_size": text["token_embedding.weight"].shape[0],
    }
    core = T5(config, torch.float32, torch.device("cpu"), comfy.ops.manual_cast)
    core.load_state_dict(renamed("umt5 encoder", text.tensors()))
    ids, real = text.tokens([SCENES[0].caption, "cyan", ""])
    assert real.sum(1).tolist() == [6, 2, 1]
    theirs = core(ids, real.long())[0]
    assert distance(text(ids, real)[real], theirs[real]) < ALONE


@torch.no_grad()
def test_vision_encoder_equals_cores(load):
    import comfy.ops
    from comfy.clip_model import CLIPVisionModelProjection

    from x2v_quant.benchmarks.train_demo import clip

    vision = clip.Vision(1)
    vision.fill(load(trained.CLIP))
    config = {
        "model_type": "clip_vision_model",
        "hidden_act": "gelu",
        "hidden_size": clip.WIDTH,
        "image_size": 224,
        "intermediate_size": clip.MLP,
        "num_attention_heads": 1,
        "num_channels": 3,
        "num_hidden_layers": clip.BLOCKS,
        "patch_size": 14,
        "projection_dim": clip.TEXT_WIDTH,
    }
    core = CLIPVisionModelProjection(config, torch.float32, torch.device("cpu"), comfy.ops.manual_cast)
    core.load_state_dict(renamed("CLIP ViT vision encoder (XLM-R)", vision.tensors()))
    images, _ = clip.frames(3, torch.Generator().manual_seed(0))
    before_last, embedding = vision(images)
    _, penultimate, theirs, _ = core(pixel_values=images, intermediate_output=-2)
    assert distance(before_last, penultimate) < ALONE
    assert distance(embedding, theirs) < ALONE


@pytest.fixture(scope="module")
def pair(load):
    """The text encoder and the diffusion model as they lie in the repository."""
    from x2v_quant.benchmarks.train_demo import dit, text

    pair = dit.Pair(text.Text(1, (trained.FOLDER / trained.SPIECE).read_bytes()), dit.Wan(1))
    pair.text.fill(load(trained.T5))
    pair.wan.fill(load(trained.DIT))
    return pair


def core_wan(tensors: dict[str, torch.Tensor], **more):
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    sizes = {"dim": 128, "ffn_dim": 512, "num_layers": 4, "text_dim": 128, "num_heads": 1, **more}
    model = WanModel(**sizes, cross_attn_norm=True, device="cpu", dtype=torch.float32, operations=comfy.ops.manual_cast)
    model.load_state_dict(tensors)
    return model


def padded(text: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(text, (0, 0, 0, 512 - text.shape[1]))


@torch.no_grad()
def test_diffusion_model_equals_cores(pair):
    """Among its 512 tokens core gives the padding 506 keys, training one."""
    generator = torch.Generator().manual_seed(0)
    latents, levels = torch.randn(3, 16, 3, 8, 8, generator=generator), torch.tensor([0.1, 0.5, 1.0])
    captions = [SCENES[0].caption, "cyan", ""]
    ids, real = pair.text.tokens(captions)
    theirs = core_wan(pair.wan.tensors())(latents, levels * 1000, padded(pair.text(ids, real)))
    assert distance(pair(latents, levels, captions), theirs) < ALONE


@torch.no_grad()
def test_image_to_video_equals_cores(pair, load, videos):
    from x2v_quant.benchmarks.train_demo import clip, i2v, vae

    encoder, vision = vae.new(0), clip.Vision(1)
    encoder.load_state_dict(load(trained.VAE))
    vision.fill(load(trained.CLIP))
    beside, features = i2v.pictures(i2v.Base(encoder, pair.text, pair.wan, vision), videos, torch.device("cpu"))
    assert beside[:, :4].flatten(2).unique().tolist() == [0, 1]
    model = i2v.ImageToVideo(pair.wan, load(trained.I2V)).see(features)
    latents, levels = torch.randn(3, 16, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.full((3,), 0.7)
    ids, real = pair.text.tokens([scene.caption for scene in SCENES[:3]])
    text = pair.text(ids, real)
    core = core_wan(widen.image_to_video(trained.dit(), trained.image_to_video()), model_type="i2v", in_dim=36)
    theirs = core(torch.cat([latents, beside], 1), levels * 1000, padded(text), clip_fea=features.repeat(1, 1, 16))
    assert distance(model(torch.cat([latents, beside], 1), levels, text, real), theirs) < ALONE


@pytest.mark.slow
def test_the_command_writes_the_same_bytes_each_time(tmp_path):
    """A few steps of every part, and of one part again; of all of them with X2V_TRAIN_TWICE=1."""
    folders = tmp_path / "first", tmp_path / "second"
    for folder, parts in zip(folders, ([], [] if "X2V_TRAIN_TWICE" in os.environ else ["clip"]), strict=True):
        if parts:
            shutil.copytree(folders[0], folder)  # what it is trained on
            (folder / trained.CLIP).unlink()
        command = [sys.executable, "-m", "x2v_quant.benchmarks.train_demo", "--threads", "1", "--shorten", "500"]
        subprocess.run([*command, "--folder", str(folder), *parts], check=True)
    names = {path.relative_to(folders[0]).as_posix() for path in folders[0].rglob("*") if path.is_file()}
    assert names == {*trained.FILES, trained.RECORD}
    for name in names - {trained.RECORD}:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    record = json.loads((folders[0] / trained.RECORD).read_text(encoding="utf-8"))
    assert list(record) == ["vae", "dit", "clip", "i2v"]
    assert all(entry["seed"] == 20 and entry["seconds"] > 0 for entry in record.values())


def test_a_part_that_is_read_wrong_is_not_kept(tmp_path):
    from x2v_quant.benchmarks.train_demo.__main__ import GateError, Job, gate

    job = Job(tmp_path, 20, torch.device("cpu"), 1, torch.Generator())
    gate("vae", {"colour": 1.0, "shape": 0.95, "direction": 1.0, "mse": 0.005}, 0.95, job)
    with pytest.raises(GateError, match=r"shape is right in 94.0%, at least 95% is needed"):
        gate("vae", {"colour": 1.0, "shape": 0.94, "direction": 1.0, "mse": 0.005}, 0.95, job)


def test_every_step_of_training_lowers_the_loss_on_one_batch(comfyui):
    """The trainer trains: a small regression is solved, and its average follows."""
    from x2v_quant.benchmarks.train_demo.schedule import Trainer

    torch.manual_seed(0)
    x = torch.randn(64, 8)
    y = x @ torch.randn(8, 3)
    trainer = Trainer(torch.nn.Linear(8, 3), 0.05, 400, "test")

    def loss(model):
        return torch.nn.functional.mse_loss(model(x), y)

    before = loss(trainer.model).item()
    for _ in trainer:
        trainer.step(loss(trainer.model))
    assert loss(trainer.model).item() < before / 100
    assert loss(trainer.averaged).item() < before / 100
    assert trainer.seconds > 0
