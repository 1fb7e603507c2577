"""Calibrate, Finish Calibration and Load Calibration: record, save and load the inputs of a model's layers."""

import logging
from pathlib import Path

import folder_paths
from comfy_api.latest import io
from server import PromptServer

from ..calibration import Calibration
from ..calibration.recorder import calibrated
from ..calibration.recordings import record, token
from ..common.log import log
from ..common.sizes import amount
from ..runtime.memory.recording import planned_recording
from .annotated_files import annotated_path, inside
from .missing import MissingFileError, problem
from .on_node import error_on_node, forgets_error, show
from .output_files import below_output, numbered
from .scheme import CATEGORY

CALIBRATION = f"{CATEGORY}/calibration"
RecordingType = io.Custom("X2V_RECORDING")
CalibrationType = io.Custom("X2V_CALIBRATION")
FOLDER = "calibration"
ALIASES = ["x2v", "lightx2v", "calibrate", "smoothquant", "gptq", "activation outliers", "quantize"]
# tokens of each layer. More is more exact: at 4 bits 512, 2048 and 8192 gave 22.4, 23.2 and 24.1 dB
NO_TOKENS, TOKENS, MOST_TOKENS = 0, 2048, 1 << 16


class Calibrate(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VCalibrate",
            display_name="Calibrate",
            category=CALIBRATION,
            description="Records what goes into each layer while a sampler runs: the largest values, and some of the "
            "inputs. Quantize Model makes a better model with them.",
            search_aliases=ALIASES,
            inputs=[
                io.Model.Input("model", tooltip="A 16-bit model from any loader, with the LoRAs that you will use."),
                io.Int.Input(
                    "tokens",
                    display_name="tokens per layer",
                    optional=True,
                    default=TOKENS,
                    min=0,
                    max=MOST_TOKENS,
                    step=256,
                    tooltip="Inputs to keep, for GPTQ. More: better, more RAM. Default 2048, typical 1024 to 8192; 0: "
                    "smoothing only.",
                ),
            ],
            outputs=[
                io.Model.Output(tooltip="For the sampler. The video stays the same."),
                RecordingType.Output(display_name="recording", tooltip="For Finish Calibration."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @forgets_error
    def fingerprint_inputs(cls, model=None, tokens=NO_TOKENS):
        return token(cls.hidden.unique_id)

    @classmethod
    @error_on_node
    def execute(cls, model, tokens=NO_TOKENS):
        """Prompts of an older version have no tokens, and record what they did."""
        planned = planned_recording(model.model.diffusion_model, tokens)
        log.log(logging.INFO if planned.tokens == tokens else logging.WARNING, "Calibrate: %s", planned.about)
        show(planned.about)
        patched, calibration = calibrated(model, planned.tokens)
        return io.NodeOutput(patched, record(cls.hidden.unique_id, calibration))


class FinishCalibration(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VFinishCalibration",
            display_name="Finish Calibration",
            category=CALIBRATION,
            description="Waits until the sampler is done, then saves what Calibrate recorded.",
            search_aliases=[*ALIASES, "save calibration"],
            inputs=[
                RecordingType.Input("recording", tooltip="From Calibrate."),
                io.Latent.Input("latent", tooltip="From the sampler that runs Calibrate's model. Only to wait for it."),
                io.String.Input(
                    "filename_prefix",
                    display_name="file name",
                    default=f"{FOLDER}/ComfyUI",
                    tooltip="In ComfyUI's output folder, for Load Calibration. Empty: not saved.",
                ),
            ],
            outputs=[CalibrationType.Output(display_name="calibration", tooltip="For Quantize Model.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    @error_on_node
    def execute(cls, recording, latent, filename_prefix):
        recording.calibration.check()
        calibration = recording.calibration.on_cpu()
        text = calibration.about
        files = []
        if filename_prefix:
            target = numbered(filename_prefix, ".safetensors")
            calibration.save(target)
            folder, _, name = below_output(target).rpartition("/")
            # what core tells clients of a file
            files = [{"filename": name, "subfolder": folder, "type": "output"}]
            text += f", saved as {name} ({amount(target.stat().st_size)}) in output/{folder}"
        PromptServer.instance.send_progress_text(text, cls.hidden.unique_id)
        return io.NodeOutput(calibration, ui={"text": (text,), "calibrations": files})


def calibration_names() -> list[str]:
    """Annotated names of the calibrations in ComfyUI's output and input folders."""
    roots = {" [output]": folder_paths.get_output_directory(), "": folder_paths.get_input_directory()}
    return [
        f"{file.relative_to(root).as_posix()}{ending}"
        for ending, root in roots.items()
        for file in sorted(Path(root, FOLDER).rglob("*.safetensors"))
        if inside(root, file)
    ]


class LoadCalibration(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VLoadCalibration",
            display_name="Load Calibration",
            category=CALIBRATION,
            description="Loads a calibration that Finish Calibration saved, for Quantize Model.",
            search_aliases=ALIASES,
            inputs=[
                io.Combo.Input(
                    "calibration_name",
                    display_name="calibration file",
                    options=calibration_names(),
                    tooltip="From output/calibration (marked [output]) or input/calibration. Press R to see new files.",
                )
            ],
            outputs=[CalibrationType.Output(display_name="calibration", tooltip="For Quantize Model.")],
        )

    @classmethod
    def validate_inputs(cls, calibration_name=None):
        """Accepts files that are not in the list too, but in those folders."""
        return problem((_path, calibration_name))

    @classmethod
    @forgets_error
    def fingerprint_inputs(cls, calibration_name):
        file = _path(calibration_name).stat()
        return f"{file.st_size}:{file.st_mtime_ns}"

    @classmethod
    @error_on_node
    def execute(cls, calibration_name):
        return io.NodeOutput(Calibration.load(_path(calibration_name)))


def _path(name: str) -> Path:
    path = annotated_path(name)
    if path is None:
        raise MissingFileError(
            f"The calibration {name} is not in ComfyUI's output or input folder. Pick one from the list, or make one "
            "with Calibrate and Finish Calibration."
        )
    return path
