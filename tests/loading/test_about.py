"""What a loader says of a model: what it makes of what, and no more than its tensors and its name tell."""

import inspect
import re
import types
from pathlib import Path

import comfy_extras.nodes_wan
import pytest

from x2v_quant.demo import assets
from x2v_quant.families.family import Variant
from x2v_quant.families.wan import WAN
from x2v_quant.loading.about import about, about_both
from x2v_quant.loading.dit import load_dit

PICTURE = "Makes video from a picture: use WanImageToVideo with a start picture"
TEXT = "Makes video from text. It takes no start picture."
HALF = "High-noise expert: it makes the first steps, its low-noise file the last ones."
OTHER = "Low-noise expert: it makes the last steps, its high-noise file the first ones."


def named(name, model="Wan 2.1 t2v", formats=("int8-channel",), use=TEXT):
    """A checkpoint as far as it is asked."""
    told = types.SimpleNamespace(variant=Variant(model, use=use))
    return types.SimpleNamespace(path=Path(name), model=model, formats=dict.fromkeys(formats, 1), told=told)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wan.safetensors", f"Wan 2.1 t2v, int8. {TEXT}"),
        (
            "wan2.1_t2v_int8_4step.safetensors",
            f"Wan 2.1 t2v, int8. {TEXT} 4-step file: set 4 steps and cfg 1.",
        ),
        ("lightning_8steps_v1.0.safetensors", f"Wan 2.1 t2v, int8. {TEXT} 8-step file: set 8 steps and cfg 1."),
        ("trained_12000steps.safetensors", f"Wan 2.1 t2v, int8. {TEXT}"),
        ("footsteps_4stepsize.safetensors", f"Wan 2.1 t2v, int8. {TEXT}"),
        ("t2v_high_noise.safetensors", f"Wan 2.2 t2v, int8. {TEXT} {HALF}"),
        ("wan/low_noise_model/a.safetensors", f"Wan 2.2 t2v, int8. {TEXT} {OTHER}"),
        ("high_quality.safetensors", f"Wan 2.1 t2v, int8. {TEXT}"),
    ],
)
def test_what_the_name_tells(name, said):
    assert about(named(name)) == said


def test_formats_are_those_of_the_file():
    assert about(named("a", "Flux", ("fp8-tensor", "fp8-channel", "nvfp4"), "")) == "Flux, fp8, nvfp4."


def test_a_high_noise_name_means_nothing_on_another_model():
    assert about(named("flux_high_noise.safetensors", "Flux", use="")) == "Flux, int8."


def test_of_a_pair_no_half_is_missing():
    said = about(named("t2v_high_noise_4step.safetensors"))
    assert about_both(said) == f"Wan 2.2 t2v, int8. {TEXT} 4-step file: set 4 steps and cfg 1."


@pytest.mark.parametrize(("field", "use"), [("i2v", f"{PICTURE} and CLIP Vision."), ("t2v", TEXT)])
def test_a_loaded_model_says_it_in_its_report(field, use, demo_models, caplog):
    path = demo_models / "diffusion_models" / getattr(assets.names("int8"), field)
    with caplog.at_level("INFO"):
        plan = load_dit(str(path)).model.x2v_plan
    said = f"Wan 2.1 {field}, int8. {use}"
    assert plan.about == said
    assert f"- {said}" in plan.lines()
    assert f"{path.name}: {said}" in caplog.text


def test_nodes_that_it_names_are_comfyuis():
    source = inspect.getsource(comfy_extras.nodes_wan)
    uses = "".join(variant.use for naming in WAN.namings for variant in naming.variants)
    named = set(re.findall(r"Wan\w+Video\w*", uses))
    assert len(named) > 7
    assert [name for name in named if f'node_id="{name}"' not in source] == []
