"""Graphs that end behind a MODEL: with ComfyUI's own loader, and with a sampler of a step or two."""

from x2v_quant.demo import assets
from x2v_quant.demo.graph import unet_loader

from .case import Prompt, node, scheme

ORIGINAL, INT8 = assets.names(assets.ORIGINAL), assets.names("int8")
SIDE, FRAMES = 32, 5
REFERENCE = {"dit": "reference", "compute_dtype": "fp32"}


def dense(name: str = ORIGINAL.t2v) -> Prompt:
    """Node "model": the unquantized model by ComfyUI's own loader."""
    return {"model": unet_loader(name)}


def ours(name: str = INT8.t2v) -> Prompt:
    """Node "model": a quantized one by ours, computed in float32 as the reference does."""
    return {
        "scheme": scheme(**REFERENCE),
        "model": node("X2VLoadDiT", model_name=name, scheme=["scheme", 0]),
    }


def behind(prompt: Prompt, class_type: str, **inputs) -> Prompt:
    """Node "behind": takes "model" and shows its own in a report."""
    return {
        **prompt,
        "behind": node(class_type, model=["model", 0], **inputs),
        "report": node("X2VKernelReport", model=["behind", 0]),
    }


def conditions(encoder: str = INT8.t5) -> Prompt:
    """Nodes "positive", "negative" and "size"."""
    text = {"clip": ["encoder", 0]}
    return {
        "encoder": node("X2VLoadT5", text_encoder_name=encoder, tokenizer="auto"),
        "positive": node("CLIPTextEncode", text="a red circle", **text),
        "negative": node("CLIPTextEncode", text="", **text),
        "size": node("EmptyHunyuanLatentVideo", width=SIDE, height=SIDE, length=FRAMES, batch_size=1),
    }


def settings(**changes) -> dict:
    """What KSampler and Compare Models take beside models."""
    return {
        "seed": 1,
        "steps": 2,
        "cfg": 1.0,
        "sampler_name": "euler",
        "scheduler": "simple",
        "positive": ["positive", 0],
        "negative": ["negative", 0],
        "latent_image": ["size", 0],
        "denoise": 1.0,
        **changes,
    }


def sampled(prompt: Prompt, model: str = "model", encoder: str = INT8.t5, **changes) -> Prompt:
    """Node "sampler" with the MODEL of the node `model`, and its latent saved."""
    return {
        **conditions(encoder),
        **prompt,
        "sampler": node("KSampler", model=[model, 0], **settings(**changes)),
        "latent": node("SaveLatent", samples=["sampler", 0], filename_prefix="latents/error"),
    }
