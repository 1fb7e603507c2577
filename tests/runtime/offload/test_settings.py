"""What may be asked for."""

import pytest

from x2v_quant.runtime.offload import MODES, OffloadSettings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mode": "blocks"}, "There is no offload mode 'blocks'. Choose one of auto, model, block, phase, disk."),
        ({"t5": "block"}, "There is no offload t5 'block'"),
        ({"clip": "phase"}, "There is no offload clip 'phase'"),
        ({"budget_gb": 0.0}, "is too small"),
        ({"budget_gb": float("nan")}, "is too small"),
        ({"prefetch": -1}, "prefetch is -1"),
    ],
)
def test_what_cannot_be_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        OffloadSettings(**given)


@pytest.mark.parametrize("mode", MODES)
def test_only_auto_without_limits_leaves_all_to_comfyui(mode):
    assert OffloadSettings(mode).is_auto is (mode == "auto")
    assert not OffloadSettings(mode, budget_gb=4).is_auto
    assert not OffloadSettings(mode, pinned=False).is_auto


def test_encoders_have_modes_of_their_own():
    settings = OffloadSettings("block", budget_gb=4, t5="disk", clip="model", pinned=False)
    assert settings.encoder("t5") == OffloadSettings("disk", pinned=False)
    assert settings.encoder("clip") == OffloadSettings("model", pinned=False)
