"""Distilled Sigmas: LightX2V's schedules for step-distilled models."""

from comfy_api.latest import io

from ..lightx2v_config.sigmas import distilled, parse_steps, split
from .on_node import error_on_node
from .scheme import CATEGORY


class DistilledSigmas(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VDistilledSigmas",
            display_name="Distilled Sigmas",
            category=CATEGORY,
            description="The noise levels (sigmas) for LightX2V's 4-step models and LoRAs, the same as in LightX2V. "
            "For SamplerCustom, instead of a scheduler.",
            search_aliases=["x2v", "lightx2v", "4 step", "distill", "denoising_step_list", "boundary", "sigmas"],
            inputs=[
                io.String.Input(
                    "denoising_step_list",
                    display_name="step list",
                    default="1000, 750, 500, 250",
                    tooltip="4-step models: 1000, 750, 500, 250. Falling numbers from 1000 to 1, one for each step.",
                ),
                io.Float.Input(
                    "shift",
                    display_name="shift",
                    default=5.0,
                    min=0.01,
                    max=100.0,
                    step=0.01,
                    tooltip="4-step models: 5. Wan 2.2 first and last frame: 16. Wan 2.2 text to video, not "
                    "distilled: 12.",
                ),
                io.Int.Input(
                    "boundary_step_index",
                    display_name="high-noise steps",
                    default=2,
                    min=1,
                    max=1000,
                    tooltip="Wan 2.2 only: steps of the high-noise expert, before the other takes over. Typical: 2 of "
                    "4.",
                ),
            ],
            outputs=[
                io.Sigmas.Output(display_name="sigmas", tooltip="All steps, for a model that is one file."),
                io.Sigmas.Output(display_name="high_sigmas", tooltip="For the sampler with the high-noise expert."),
                io.Sigmas.Output(
                    display_name="low_sigmas",
                    tooltip="For the sampler with the low-noise expert. Switch its add_noise off.",
                ),
            ],
        )

    @classmethod
    @error_on_node
    def execute(cls, denoising_step_list, shift, boundary_step_index):
        sigmas = distilled(parse_steps(denoising_step_list), shift)
        return io.NodeOutput(sigmas, *split(sigmas, boundary_step_index))
