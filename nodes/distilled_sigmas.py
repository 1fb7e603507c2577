"""Distilled Sigmas: LightX2V's schedules for step-distilled models."""

from comfy_api.latest import io

from ..lightx2v_config.sigmas import distilled, parse_steps, split
from .scheme import CATEGORY


class DistilledSigmas(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VDistilledSigmas",
            display_name="Distilled Sigmas",
            category=CATEGORY,
            description="The noise levels that LightX2V's 4-step models are sampled with, as LightX2V computes them.",
            search_aliases=["x2v", "lightx2v", "4 step", "distill", "denoising_step_list", "boundary", "sigmas"],
            inputs=[
                io.String.Input(
                    "denoising_step_list",
                    default="1000, 750, 500, 250",
                    tooltip="Training steps, falling, from 1000 to 1: denoising_step_list of a LightX2V config.",
                ),
                io.Float.Input(
                    "shift",
                    default=5.0,
                    min=0.01,
                    max=100.0,
                    step=0.01,
                    tooltip="The config's sample_shift: 5 for most 4-step models, 12 for Wan 2.2 text to video that is "
                    "not distilled, 16 for first and last frame.",
                ),
                io.Int.Input(
                    "boundary_step_index",
                    default=2,
                    min=1,
                    max=1000,
                    tooltip="Wan 2.2: with which step, counted from 0, the low-noise expert takes over.",
                ),
            ],
            outputs=[
                io.Sigmas.Output(display_name="sigmas", tooltip="For a model of one part."),
                io.Sigmas.Output(display_name="high_sigmas", tooltip="For the sampler with the high-noise expert."),
                io.Sigmas.Output(
                    display_name="low_sigmas",
                    tooltip="For the sampler with the low-noise expert, which adds no noise of its own.",
                ),
            ],
        )

    @classmethod
    def execute(cls, denoising_step_list, shift, boundary_step_index):
        sigmas = distilled(parse_steps(denoising_step_list), shift)
        return io.NodeOutput(sigmas, *split(sigmas, boundary_step_index))
