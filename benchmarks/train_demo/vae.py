"""The VAE: core's WanVAE, narrow, trained on whole clips at once and folded into Wan 2.1's latent format."""

import comfy.latent_formats
import torch
from comfy.ldm.wan.vae import CausalConv3d, Resample, WanVAE
from einops import rearrange

from ...demo.reading import read
from ...demo.scenes import SCENES, SIDE, Scene, render
from .schedule import Trainer

WIDTH = 8
LATENT_CHANNELS = 16
TEMPORAL = [False, True, True]  # which stages halve the frames: not the class's default, but what core loads
NOISE = 0.1  # added to latents of deviation about one, so that the decoder bears what a sampler makes
SIZE_PENALTY = 1e-4  # keeps latents from growing instead
OBJECT_WEIGHT = 4.0  # the background fills nine tenths of the picture
SHARP_WEIGHT = 12.0  # for the decoder's last training
# (steps, learning rate, clips per step, frames, pixels of a side): single pictures are cheap, then motion, then whole
# clips, twice; at last the decoder alone
STAGES = ((600, 3e-3, 16, 1, 64), (450, 2.1e-3, 8, 9, 32), (150, 1.05e-3, 4, 9, 64), (260, 1.5e-3, 4, 9, 64))
DECODER_STEPS, DECODER_RATE, DECODER_CLIPS = 300, 1.5e-3, 4
MEASURED, BATCH = 16, 16  # batches for the latents' statistics, and their clips


def new(seed: int) -> WanVAE:
    """Initialised throughout (core leaves weights as memory has them), so that every frame is at first treated alone:
    what single pictures taught then holds for each of a clip."""
    torch.manual_seed(seed)
    vae = WanVAE(dim=WIDTH, z_dim=LATENT_CHANNELS, temperal_downsample=TEMPORAL)
    for name, module in vae.named_modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Conv3d):
            torch.nn.init.zeros_(module.bias)
            last = name.endswith(("residual.6", "proj"))
            fan = module.weight[0].numel()
            if isinstance(module, CausalConv3d):
                torch.nn.init.zeros_(module.weight)
                present = module.weight.data[:, :, -1]
                if name.endswith("time_conv"):
                    copies = module.out_channels // module.in_channels
                    present.copy_(torch.eye(module.in_channels).repeat(copies, 1)[..., None, None])
                else:
                    fan //= module.weight.shape[2]
                    torch.nn.init.normal_(present, std=(0.3 if last else 1.0) * fan**-0.5)
            else:
                torch.nn.init.normal_(module.weight, std=(0.3 if last else 1.0) * fan**-0.5)
    return vae


def encode(vae: WanVAE, clips: torch.Tensor) -> torch.Tensor:
    """clips [B, 3, 1 + 4 t, H, W] in -1 to 1 -> latents [B, 16, 1 + t, H / 8, W / 8].

    All frames at once; equals core's `encode`, which goes through them two at a time with a cache.
    """
    hidden = vae.encoder.conv1(clips)
    for layer in (*vae.encoder.downsamples, *vae.encoder.middle, *vae.encoder.head):
        hidden = _resample(layer, hidden) if isinstance(layer, Resample) else layer(hidden)
    return vae.conv1(hidden).chunk(2, dim=1)[0]


def decode(vae: WanVAE, latents: torch.Tensor) -> torch.Tensor:
    """The inverse of `encode`; equals core's `decode`."""
    hidden = vae.decoder.conv1(vae.conv2(latents))
    for layer in (*vae.decoder.middle, *vae.decoder.upsamples, *vae.decoder.head):
        hidden = _resample(layer, hidden) if isinstance(layer, Resample) else layer(hidden)
    return hidden


def _resample(layer: Resample, x: torch.Tensor) -> torch.Tensor:
    """A Resample over all frames: the first never takes part in a change of their number."""
    batch, channels, frames, height, width = x.shape
    if layer.mode == "upsample3d" and frames > 1:
        pairs = layer.time_conv(x[:, :, 1:]).reshape(batch, 2, channels, frames - 1, height, width)
        x = torch.cat([x[:, :, :1], rearrange(pairs, "b two c t h w -> b c (t two) h w")], dim=2)
    count = x.shape[2]
    x = layer.resample(rearrange(x, "b c t h w -> (b t) c h w"))
    x = rearrange(x, "(b t) c h w -> b c t h w", t=count)
    if layer.mode == "downsample3d" and frames > 1:
        x = torch.cat([x[:, :, :1], layer.time_conv(x)], dim=2)
    return x


def clips(count: int, generator: torch.Generator, frames: int | None = None, side: int = SIDE) -> torch.Tensor:
    """Random scenes as [count, 3, frames, side, side] in -1 to 1; fewer frames or pixels are cut out at random."""
    picks = torch.randint(len(SCENES), (count,), generator=generator).tolist()
    videos = render([SCENES[i] for i in picks], generator).permute(0, 4, 1, 2, 3) * 2 - 1
    if frames == 1:
        at = int(torch.randint(videos.shape[2], (1,), generator=generator))
        videos = videos[:, :, at : at + 1]
    if side < SIDE:
        down, right = torch.randint(SIDE - side + 1, (2,), generator=generator).tolist()
        videos = videos[..., down : down + side, right : right + side]
    return videos


def loss_of(vae: WanVAE, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    latents = encode(vae, batch)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    error = distance(decode(vae, latents + NOISE * noise), batch, OBJECT_WEIGHT)
    return error + SIZE_PENALTY * (latents.square() - 1).clamp(min=0).mean()


def distance(made: torch.Tensor, true: torch.Tensor, object_weight: float) -> torch.Tensor:
    """Absolute and squared error; what differs from the picture's corner is the object and weighs more."""
    difference = made - true
    weight = 1 + object_weight * ((true - true[..., :1, :1]).abs().amax(1, keepdim=True) > 0.2)
    return (weight * (difference.abs() + 2 * difference.square())).mean() / weight.mean()


def train(seed: int, device: torch.device, shorten: int = 1) -> tuple[WanVAE, float]:
    """(the VAE in eval mode, float32, seconds of its training). shorten: divides the number of steps."""
    generator = torch.Generator().manual_seed(seed)
    vae = new(seed).to(device)
    seconds = 0.0
    for steps, rate, count, frames, side in STAGES:
        trainer = Trainer(vae, rate, max(1, steps // shorten), f"vae {frames} x {side} x {side}")
        for _ in trainer:
            trainer.step(loss_of(vae, clips(count, generator, frames, side).to(device), generator))
        seconds += trainer.seconds
        vae = trainer.averaged.requires_grad_(True)
    vae.requires_grad_(False).eval()
    fold(vae, statistics(vae, generator, device, max(1, MEASURED // shorten)))
    return vae, seconds + sharpen(vae, generator, device, shorten)


def sharpen(vae: WanVAE, generator: torch.Generator, device: torch.device, shorten: int) -> float:
    """Train the decoder on latents that no longer change, the object above all; returns the seconds."""
    trainer = Trainer(vae.decoder.requires_grad_(True), DECODER_RATE, max(1, DECODER_STEPS // shorten), "vae decoder")
    deviation = comfy.latent_formats.Wan21().latents_std.to(device)
    for _ in trainer:
        batch = clips(DECODER_CLIPS, generator).to(device)
        with torch.no_grad():
            latents = encode(vae, batch)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        trainer.step(distance(decode(vae, latents + NOISE * deviation * noise), batch, SHARP_WEIGHT))
    vae.decoder = trainer.averaged.eval()
    return trainer.seconds


@torch.no_grad()
def statistics(
    vae: WanVAE, generator: torch.Generator, device: torch.device, batches: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation [16] of the latents of so many batches of random scenes."""
    latents = torch.cat([encode(vae, clips(BATCH, generator).to(device)) for _ in range(batches)])
    flat = latents.transpose(0, 1).flatten(1)
    return flat.mean(1), flat.std(1)


@torch.no_grad()
def fold(vae: WanVAE, measured: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Make the latents' mean and deviation those of Wan 2.1's latent format, by the two 1 x 1 x 1 convolutions."""
    mean, deviation = measured
    format_ = comfy.latent_formats.Wan21()
    wanted_mean, wanted_deviation = (t.flatten().to(mean) for t in (format_.latents_mean, format_.latents_std))
    scale = wanted_deviation / deviation
    first = slice(0, LATENT_CHANNELS)
    vae.conv1.weight[first] *= scale.reshape(-1, 1, 1, 1, 1)
    vae.conv1.bias[first] = (vae.conv1.bias[first] - mean) * scale + wanted_mean
    # x = (z - wanted_mean) / scale + mean goes into conv2
    vae.conv2.bias += vae.conv2.weight.flatten(1) @ (mean - wanted_mean / scale)
    vae.conv2.weight /= scale.reshape(1, -1, 1, 1, 1)


@torch.no_grad()
def accuracy(vae: WanVAE, scenes: list[Scene], generator: torch.Generator, device: torch.device) -> dict[str, float]:
    """Shares of the scenes' reconstructions that are read right, through core's own cached `encode` and `decode`, and
    the error ("mse", of values in -1 to 1)."""
    right = {"colour": 0, "shape": 0, "direction": 0}
    squared = 0.0
    for start in range(0, len(scenes), 12):
        chosen = scenes[start : start + 12]
        true = render(chosen, generator).permute(0, 4, 1, 2, 3).to(device) * 2 - 1
        made = vae.decode(vae.encode(true))
        squared += float((made - true).square().mean()) * len(chosen)
        for scene, video in zip(chosen, made.permute(0, 2, 3, 4, 1).cpu() / 2 + 0.5, strict=True):
            for name, hit in read(video).matches(scene).items():
                right[name] += hit
    return {name: count / len(scenes) for name, count in right.items()} | {"mse": squared / len(scenes)}
