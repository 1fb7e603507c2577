"""Compare Models: two forms of a model with the same noise and conditioning."""

import comfy.samplers
import comfy.utils
import latent_preview
from comfy_api.latest import io, ui

from ..comparing.compare import compare
from ..comparing.drawing import as_image
from ..comparing.error_plot import error_plot
from ..comparing.heat_map import heat_map
from ..comparing.sampling import Job, Settings
from ..comparing.text import describe, short
from .on_node import error_on_node, show
from .scheme import CATEGORY

MOST_SEED = 2**64 - 1
PREVIEW = "JPEG"


class Compare(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VCompare",
            display_name="Compare Models",
            category=CATEGORY,
            description="Samples two versions of a model with the same noise. Says how different the results look and "
            "which layers to keep in high precision.",
            search_aliases=["x2v", "compare", "quality", "psnr", "ssim", "snr", "quantization error", "sensitivity"],
            inputs=[
                io.Model.Input("reference", tooltip="The model as it should be, usually the 16-bit one."),
                io.Model.Input("candidate", tooltip="The same model in another form, e.g. int8, from any loader."),
                io.Conditioning.Input("positive", tooltip="The prompt, for both models."),
                io.Conditioning.Input("negative", tooltip="The negative prompt, for both models."),
                io.Latent.Input(
                    "latent_image", tooltip="Size and length of the video, for both. A small one is enough, and faster."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MOST_SEED,
                    control_after_generate=True,
                    tooltip="Of the noise, the same for both. Any number will do; default 0.",
                ),
                io.Int.Input(
                    "steps", default=20, min=1, max=10000, tooltip="Steps of each model. Default 20; 4-step models: 4."
                ),
                io.Float.Input(
                    "cfg",
                    default=6.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="As in KSampler. Default 6; 4-step models: 1.",
                ),
                io.Combo.Input(
                    "sampler_name",
                    options=comfy.samplers.KSampler.SAMPLERS,
                    default="euler",
                    tooltip="As in KSampler. euler is right for most; dpm_adaptive does not work here.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=comfy.samplers.KSampler.SCHEDULERS,
                    default="simple",
                    tooltip="As in KSampler. simple is right for most.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="As in KSampler. Default 1: a new video.",
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="Optional. Decodes both results, to say how much is visible. Recommended.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="verdict", tooltip="How much is visible and what to do, in a few sentences."
                ),
                io.String.Output(
                    display_name="layers",
                    tooltip="Layers to keep in high precision: connect it to Quantize Model's layers.",
                ),
                io.String.Output(display_name="report", tooltip="All figures, in tables."),
                io.Image.Output(
                    display_name="heat map", tooltip="One column per block, one row per kind of layer. Dark is bad."
                ),
                io.Image.Output(display_name="error plot", tooltip="How far the latents are off at each step."),
                io.Latent.Output(display_name="reference", tooltip="Result of the reference, for VAE Decode."),
                io.Latent.Output(display_name="candidate", tooltip="Result of the candidate, for VAE Decode."),
            ],
            is_output_node=True,
        )

    @classmethod
    @error_on_node
    def execute(
        cls,
        reference,
        candidate,
        positive,
        negative,
        latent_image,
        seed,
        steps,
        cfg,
        sampler_name,
        scheduler,
        denoise,
        vae=None,
    ):
        job = Job(Settings(seed, steps, cfg, sampler_name, scheduler, denoise), positive, negative, latent_image)
        found = compare(reference, candidate, job, vae, _ticker(reference))
        report, words = found.report, found.report.verdict.words
        lines = "\n".join(report.verdict.lines)
        pictures = [as_image(heat_map(report.layers)), as_image(error_plot(report.steps))]
        show(short(report.verdict))
        images = [image for picture in pictures for image in ui.PreviewImage(picture).as_dict()["images"]]
        latents = [{"samples": samples} for samples in found.latents]
        return io.NodeOutput(
            words,
            lines,
            describe(report),
            *pictures,
            *latents,
            ui={"images": images, "text": (words, lines), "compare": (report.as_dict(),)},
        )


def _ticker(model):
    """A callback for the node's progress over both models, with core's preview."""
    bar = comfy.utils.ProgressBar(1)
    previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)

    def tick(done, total, x0):
        preview = None
        if previewer is not None:
            shown = x0.unbind()[0] if x0.is_nested else x0
            preview = previewer.decode_latent_to_preview_image(PREVIEW, shown)
        bar.update_absolute(done, total, preview)

    return tick
