"""Saved values find the input that the frontend gives them to; those that no input takes are told."""

import pytest
from saved_workflows import node, workflow

from x2v_quant.headless.settings import read_setting
from x2v_quant.headless.workflow import convert

VIDEO = "VHS_VideoCombine"
POWER = "Power Lora Loader (rgthree)"
MANAGED = "Lora Loader (LoraManager)"


def info(**inputs):
    return {"Node": {"input": {"required": inputs}}, POWER: {"input": {"optional": {"model": ["MODEL"]}}}}


def converted(values, kind="Node", object_info=None, **more):
    return convert(workflow(node(1, kind, values, **more)), object_info or info())


def inputs_of(values, kind="Node", object_info=None, **more):
    found = converted(values, kind, object_info, **more)
    assert not found.notes
    return found.prompt["1"]["inputs"]


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (["FLOAT,INT", {"widgetType": "FLOAT"}], 25.0),  # LTXVEmptyLatentAudio
        (["STRING,FILE_3D_GLB", {"widgetType": "STRING"}], "a.glb"),  # Preview3D
        (["STRING", {"widgetType": "PAINTER", "socketless": True}], "mask.png"),  # Painter
        (["*", {"widgetType": "COMBO", "options": ["a", "b"]}], "b"),
        (["INT", {"socketless": True, "hidden": True}], 3),
        (["COMBO", {"options": ["a", "b"]}], "b"),
        ([["a", "b"]], "b"),
        (["COLOR", {}], "#ff0000"),
    ],
)
def test_what_is_a_widget(spec, value):
    """In a file that lists no input for it; the next widget keeps its own value."""
    assert inputs_of([value, 7], object_info=info(first=spec, batch=["INT", {}])) == {"first": value, "batch": 7}


@pytest.mark.parametrize(
    "spec", [["FLOAT,INT", {}], ["MODEL", {}], ["INT", {"forceInput": True}], ["FLOAT,INT", {"widgetType": "MODEL"}]]
)
def test_what_is_none(spec):
    assert inputs_of([7], object_info=info(first=spec, batch=["INT", {}])) == {"batch": 7}


def test_a_control_behind_a_widget_of_several_types():
    object_info = info(seed=["INT,FLOAT", {"widgetType": "INT"}], batch=["INT", {}])
    assert inputs_of([5, "randomize", 7], object_info=object_info) == {"seed": 5, "batch": 7}


def test_a_file_from_before_an_input_lost_its_widget():
    """As many values as there were widgets."""
    object_info = info(first=["INT", {"forceInput": True}], batch=["INT", {}])
    assert inputs_of([3, 7], object_info=object_info) == {"batch": 7}


def test_setting_a_widget_of_several_types():
    object_info = info(rate=["FLOAT,INT", {"widgetType": "FLOAT"}])
    prompt = convert(workflow(node(1, "Node", [25.0])), object_info).prompt
    assert read_setting("1.rate=24", prompt, object_info).value == 24.0


@pytest.mark.parametrize(
    "values", [["a.glb", "", 512], ["a.glb", "upload3dmodel", "uploadExtraResources", "clear", "", 512]]
)
def test_what_only_a_browser_draws_keeps_its_place(values):
    object_info = info(model_file=[["a.glb"]], image=["LOAD_3D", {}], width=["INT", {}])
    assert inputs_of(values, object_info=object_info) == {"model_file": "a.glb", "image": "", "width": 512}


LORAS = [
    {"on": True, "lora": "a.safetensors", "strength": 0.7, "strengthTwo": None},
    {"on": False, "lora": "b.safetensors", "strength": 1, "strengthTwo": 0.5},
]
# as the node saves them: a spacer, a header, the rows, a spacer, its button
POWER_VALUES = [{}, {"type": "PowerLoraLoaderHeaderWidget"}, *LORAS, {}, ""]


@pytest.mark.parametrize(
    ("shown", "second"),
    [("Single Strength", [{}, {}]), ("Separate Model & Clip", [{"strengthTwo": 1}, {"strengthTwo": 0.5}])],
)
def test_power_lora_loader_sends_its_rows(shown, second):
    """A second strength only where the node shows it."""
    rows = [
        {"on": row["on"], "lora": row["lora"], "strength": row["strength"]} | more
        for row, more in zip(LORAS, second, strict=True)
    ]
    found = inputs_of(POWER_VALUES, POWER, properties={"Show Strengths": shown})
    assert found == {"lora_1": rows[0], "lora_2": rows[1]}


def test_lora_manager_sends_its_list():
    rows = [{"name": "a", "strength": 0.7, "active": True}]
    object_info = {MANAGED: {"input": {"required": {"text": ["STRING", {}]}}}}
    assert inputs_of(["<lora:a:0.7>", rows], MANAGED, object_info) == {
        "text": "<lora:a:0.7>",
        "loras": {"__value__": rows},
    }


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([7, {"lora": "a.safetensors"}, None, "", "b"], "{'lora': 'a.safetensors'}, 'b'"),
        ({"batch": 7, "rows": [1], "preview": None}, "{'rows': [1]}"),
        ([7, "x" * 5000], "'" + "x" * 199),
    ],
)
def test_values_that_no_input_takes_are_told(values, told):
    found = converted(values, object_info=info(batch=["INT", {}]))
    assert found.prompt["1"]["inputs"] == {"batch": 7}
    assert found.notes == [f"node 1 (Node) has values that it has no inputs for, not used: {told}"]


SAMPLER = info(
    seed=["INT", {"control_after_generate": True}],
    steps=["INT", {}],
    kind=[["euler", "heun"], {}],
    add_noise=["BOOLEAN", {}],
)


@pytest.mark.parametrize("control", [True, False, "randomize"])
def test_a_control_of_the_first_files(control):
    """They had true or false there."""
    found = inputs_of([5, control, 20, "heun", True], object_info=SAMPLER)
    assert found == {"seed": 5, "steps": 20, "kind": "heun", "add_noise": True}


def test_a_switch_behind_a_seed_without_a_control():
    object_info = info(seed=["INT", {"control_after_generate": True}], add_noise=["BOOLEAN", {}])
    assert inputs_of([5, True], object_info=object_info) == {"seed": 5, "add_noise": True}


def test_a_seed_that_declares_no_control():
    object_info = info(seed=["INT", {"control_after_generate": False}], kind=[["fixed", "free"], {}])
    assert inputs_of([5, "fixed"], object_info=object_info) == {"seed": 5, "kind": "fixed"}


@pytest.mark.parametrize(
    "values", [[5, "fixed", 20, None, True], {"seed": 5, "steps": 20, "kind": None, "add_noise": 1}]
)
def test_a_combo_without_a_choice_takes_the_first(values):
    assert inputs_of(values, object_info=SAMPLER) == {"seed": 5, "steps": 20, "kind": "euler", "add_noise": True}


def test_an_optional_upload_has_no_button():
    image = [["x.png"], {"image_upload": True}]
    object_info = {"Node": {"input": {"required": {}, "optional": {"image": image, "batch": ["INT", {}]}}}}
    assert inputs_of(["x.png", 7], object_info=object_info) == {"image": "x.png", "batch": 7}


H264 = [
    ["pix_fmt", ["yuv420p", "yuv420p10le"]],
    ["crf", "INT", {"default": 19}],
    ["save_metadata", "BOOLEAN", {"default": True}],
]
FORMATS = [
    ["image/gif", "video/h264-mp4", "video/odd"],
    {"formats": {"video/h264-mp4": H264, "video/odd": [None, ["x"]]}},
]
VIDEO_INFO = {
    VIDEO: {"input": {"required": {"rate": ["FLOAT", {"default": 8}], "format": FORMATS, "loop": ["INT", {}]}}}
}
SHOWN = {"videopreview": {"hidden": False}, "choose video to upload": "image"}


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        ({"crf": 23, "pix_fmt": "yuv420p10le"}, {"pix_fmt": "yuv420p10le", "crf": 23, "save_metadata": True}),
        ({}, {"pix_fmt": "yuv420p", "crf": 19, "save_metadata": True}),
    ],
)
def test_a_format_brings_its_widgets(values, sent):
    """Video Combine: what was saved for them, else their defaults; what it only shows is not told."""
    saved = {"rate": 16, "format": "video/h264-mp4", "loop": 0, **values, **SHOWN}
    assert inputs_of(saved, VIDEO, VIDEO_INFO) == {"rate": 16, "format": "video/h264-mp4", "loop": 0, **sent}


def test_a_list_from_before_formats_had_widgets():
    found = inputs_of([16, "video/h264-mp4", 0, None], VIDEO, VIDEO_INFO)
    assert found == {
        "rate": 16,
        "format": "video/h264-mp4",
        "loop": 0,
        "pix_fmt": "yuv420p",
        "crf": 19,
        "save_metadata": True,
    }


def test_widgets_of_another_format_are_told():
    found = converted({"format": "image/gif", "crf": 23, "loop": 1}, VIDEO, VIDEO_INFO)
    assert found.prompt["1"]["inputs"] == {"rate": 8, "format": "image/gif", "loop": 1}
    assert found.notes == [f"node 1 ({VIDEO}) has values that it has no inputs for, not used: {{'crf': 23}}"]


def test_a_format_that_is_described_wrongly_brings_nothing():
    assert inputs_of({"format": "video/odd", "loop": 1}, VIDEO, VIDEO_INFO)["format"] == "video/odd"
