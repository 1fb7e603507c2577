"""What core reserves for activations: its formula, for an NVIDIA GPU."""

import inspect

import comfy.model_base
import comfy.supported_models
import pytest
import torch

from x2v_quant.core import activations


def test_cores_formula_is_the_one_that_is_read():
    source = inspect.getsource(comfy.model_base.BaseModel.memory_required)
    assert f"* {activations.FLASH} *" in source and f"* {activations.OTHER} *" in source, (
        "core estimates activations in another way: what x2v-quant advise says of VRAM is wrong"
    )


@pytest.mark.parametrize("flash", [True, False])
def test_the_figure_is_a_gpus_whatever_machine_asks(flash, monkeypatch):
    """bf16 values of the latents x 0.01 x the factor of the model in MiB, which core has measured."""
    config = comfy.supported_models.WAN21_T2V({"image_model": "wan2.1", "model_type": "t2v", "dim": 5120})
    model = _Model(config)
    monkeypatch.setattr(comfy.model_management, "pytorch_attention_flash_attention", lambda: flash)
    found = activations.activation_bytes(model, [1, 16, 21, 60, 104])
    assert found == pytest.approx(21 * 60 * 104 * 2 * 0.01 * 5120 / 2222 * 1024**2, rel=1e-6)


class _Model(comfy.model_base.BaseModel):
    def __init__(self, config):
        torch.nn.Module.__init__(self)
        self.memory_usage_factor, self.memory_usage_factor_conds = config.memory_usage_factor, ()

    def get_dtype_inference(self):
        return torch.bfloat16
