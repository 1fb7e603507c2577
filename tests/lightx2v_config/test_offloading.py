"""LightX2V's offload keys as Offload Control's."""

import pytest

from x2v_quant.lightx2v_config import ConfigError, offload_settings
from x2v_quant.runtime.offload import OffloadSettings


@pytest.mark.parametrize(
    ("values", "mode", "t5", "clip"),
    [
        ({}, "auto", "auto", "auto"),
        ({"cpu_offload": False, "offload_granularity": "block", "t5_cpu_offload": True}, "auto", "model", "auto"),
        ({"cpu_offload": True}, "block", "model", "model"),
        ({"cpu_offload": True, "offload_granularity": "model", "t5_cpu_offload": False}, "model", "auto", "model"),
        (
            {"cpu_offload": True, "offload_granularity": "phase", "t5_cpu_offload": False, "clip_cpu_offload": False},
            *("phase", "auto", "auto"),
        ),
        ({"cpu_offload": True, "offload_granularity": "phase", "lazy_load": True}, "disk", "model", "model"),
        ({"cpu_offload": True, "t5_lazy_load": True, "num_disk_workers": 2}, "block", "disk", "model"),
        ({"unload_modules": True}, "model", "model", "model"),
        ({"unload_modules": True, "cpu_offload": True}, "block", "model", "model"),
    ],
)
def test_keys(config, values, mode, t5, clip):
    assert offload_settings(config(**values)) == OffloadSettings(mode=mode, t5=t5, clip=clip)


def test_an_unknown_granularity_is_named(config):
    with pytest.raises(ConfigError, match=r"offload_granularity is 'layer'.*block, phase, model"):
        offload_settings(config(cpu_offload=True, offload_granularity="layer"))
