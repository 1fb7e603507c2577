"""What ComfyUI's ModelSave writes of our models, in ComfyUI's own loader."""

import pytest
from distance import distance
from older_comfyui import core_reads_int8
from small_wan import saved_by_core

from x2v_quant.loading.dit import load_dit

pytestmark = pytest.mark.usefixtures("inference")


@core_reads_int8
def test_core_reads_a_saved_int8_file(wan_files, sample, tmp_path):
    """int8 files leave with the marker of core's own format, so stock ComfyUI reads them."""
    import json

    import comfy.sd
    import comfy.utils

    model = load_dit(wan_files["int8-channel"][1])
    sd = comfy.utils.load_torch_file(saved_by_core(model, tmp_path / "saved.safetensors"))
    config = json.dumps({"transformer": {"text_dim": 64}})
    core = comfy.sd.load_diffusion_model_state_dict(sd, metadata={"config": config})
    assert core.model.model_config.quant_config is not None
    assert distance(sample(core), sample(model)) < 0.01


def test_core_refuses_a_saved_fp8_file_instead_of_giving_noise(wan_files, tmp_path):
    """Core has no fp8 with a scale per channel: the marker it does not know stops it before it drops the scales."""
    import comfy.sd

    path = saved_by_core(load_dit(wan_files["fp8-channel"][1]), tmp_path / "saved.safetensors")
    with pytest.raises(KeyError, match="fp8-channel"):
        comfy.sd.load_diffusion_model(path)
