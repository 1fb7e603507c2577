"""comfy-cli, which converts saved workflows by itself, makes the same prompts of the official templates and of ours.

Where it does not, a row of DIFFERENCES says why, by what the frontend's own code does.
"""

import json
import logging
import re

import official_templates
import pytest
from older_comfyui import core_brings_newer_templates

from x2v_quant.demo.graph import WORKFLOWS
from x2v_quant.headless.workflow import WorkflowError, to_prompt

other = pytest.importorskip("comfy_cli.workflow_to_api", reason="comfy-cli is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(official_templates.folder() is None, reason=f"{official_templates.PACKAGE} is not installed"),
]
# "class.input" -> what the frontend does, which comfy-cli does not
DIFFERENCES = {
    r"ImageCompare\.compare_view": "a widget that is never saved is sent as two empty texts",
    r"CustomCombo\.(index|option\d+)": "its options are sent with it",
    r"SaveVideo\.codec\.\w+": "an input of a dynamic combo that is newer than the file gets its default",
    r"TextGenerate\.sampling_mode\.\w+": "the same",
    r"(PreviewAny\.source|ComfyMathExpression\.values\.\w+|ComfySwitchNode\.on_\w+)": "a widget of a subgraph feeds it",
    r"CurveEditor\.curve": "the values on an instance of a subgraph count",
    r"(SAM3_Detect|SDPoseKeypointExtractor)\.bboxes": "an input that must be linked has no widget",
    r"(Hunyuan3Dv2ConditioningMultiView\.\w+|WanVaceToVideo\.control_masks)": "a bypass hands on what fits",
}
LEAST = 200  # templates that both convert


def differing(ours, theirs):
    """ "class.input" of each input that is not the same; a class alone for a node that only one has."""
    for number in ours.keys() | theirs.keys():
        if number not in ours or number not in theirs:
            yield (ours.get(number) or theirs.get(number))["class_type"]
            continue
        one, two = ours[number]["inputs"], theirs[number]["inputs"]
        names = {name for name in one.keys() | two.keys() if one.get(name, differing) != two.get(name, differing)}
        yield from (f"{ours[number]['class_type']}.{name}" for name in names)


@core_brings_newer_templates
def test_it_makes_the_same_prompts(object_info, caplog):
    caplog.set_level(logging.CRITICAL)
    files = [*official_templates.folder().glob("*.json"), *WORKFLOWS.glob("*.json")]
    both, found = 0, {}
    for file in files:
        saved = json.loads(file.read_text(encoding="utf-8"))
        if "nodes" not in saved:
            continue
        try:
            ours = to_prompt(saved, object_info)
        except WorkflowError as error:
            assert "unknown to this server: install its node pack" in str(error), file.name
            continue
        both += 1
        for name in differing(ours, other.convert_ui_to_api(saved, object_info)):
            found.setdefault(name, file.name)
    known = {name for name in found for row in DIFFERENCES if re.fullmatch(row, name)}
    assert {name: file for name, file in found.items() if name not in known} == {}
    assert both >= LEAST
