"""What a user drags. Thin: every node names its inputs and calls the loaders."""

from comfy_api.latest import ComfyExtension

from .calibrate import Calibrate, FinishCalibration, LoadCalibration
from .compare import Compare
from .distilled_sigmas import DistilledSigmas
from .experts import LoadExperts
from .lightx2v_config import LoadConfig
from .loaders import LoadCLIPVision, LoadDiT, LoadT5
from .lora import LoadLoRA
from .memory import MemoryReport
from .offload import OffloadControl
from .quantize import QuantizeCLIP, QuantizeModel
from .report import KernelReport
from .sampler_patch import SamplerPatch, StepReportNode
from .save import SaveQuantizedCLIP, SaveQuantizedModel
from .scheme import QuantizationScheme


class X2VExtension(ComfyExtension):
    async def get_node_list(self):
        return [
            *(LoadDiT, LoadT5, LoadCLIPVision, QuantizationScheme),
            *(QuantizeModel, QuantizeCLIP, SaveQuantizedModel, SaveQuantizedCLIP),
            *(Calibrate, FinishCalibration, LoadCalibration),
            *(LoadExperts, LoadConfig, LoadLoRA),
            *(SamplerPatch, StepReportNode, DistilledSigmas, Compare),
            *(OffloadControl, KernelReport, MemoryReport),
        ]
