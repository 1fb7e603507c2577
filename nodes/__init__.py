"""ComfyUI nodes. A node only declares its inputs and calls the other packages."""

from comfy_api.latest import ComfyExtension

from .calibrate import Calibrate, FinishCalibration, LoadCalibration
from .compare import Compare
from .demo_models import offer
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
from .template_order import sort_cards

# node id -> node; tools that read a pack without running it look for this name
NODE_CLASS_MAPPINGS = {
    "X2VLoadDiT": LoadDiT,
    "X2VLoadT5": LoadT5,
    "X2VLoadCLIPVision": LoadCLIPVision,
    "X2VScheme": QuantizationScheme,
    "X2VQuantizeModel": QuantizeModel,
    "X2VQuantizeCLIP": QuantizeCLIP,
    "X2VSaveModel": SaveQuantizedModel,
    "X2VSaveCLIP": SaveQuantizedCLIP,
    "X2VCalibrate": Calibrate,
    "X2VFinishCalibration": FinishCalibration,
    "X2VLoadCalibration": LoadCalibration,
    "X2VLoadExperts": LoadExperts,
    "X2VLoadConfig": LoadConfig,
    "X2VLoadLoRA": LoadLoRA,
    "X2VSamplerPatch": SamplerPatch,
    "X2VStepReport": StepReportNode,
    "X2VDistilledSigmas": DistilledSigmas,
    "X2VCompare": Compare,
    "X2VOffloadControl": OffloadControl,
    "X2VKernelReport": KernelReport,
    "X2VMemoryReport": MemoryReport,
}


class X2VExtension(ComfyExtension):
    async def on_load(self):
        offer()
        sort_cards()

    async def get_node_list(self):
        return list(NODE_CLASS_MAPPINGS.values())
