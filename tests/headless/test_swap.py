"""Loaders of ComfyUI's become ours where ours can stand in, and nothing else of a workflow changes."""

import copy

import official_templates
import pytest
from saved_workflows import download, loader, node, subgraph, workflow

from x2v_quant.headless.stand_ins import STAND_INS
from x2v_quant.headless.swap import swap

WAN = "wan2.1_t2v_14B_fp16.safetensors"
UMT5 = "umt5_xxl_fp16.safetensors"


@pytest.mark.parametrize(
    ("made", "ours", "values"),
    [
        (loader(3, "UNETLoader", [WAN, "default"]), "X2VLoadDiT", [WAN]),
        (loader(3, "UNETLoader", [f"wan\\{WAN}", "fp8_e4m3fn_fast"]), "X2VLoadDiT", [f"wan\\{WAN}"]),
        (
            loader(3, "UNETLoader", ["sub/Qwen-Image-2512.safetensors"]),
            "X2VLoadDiT",
            ["sub/Qwen-Image-2512.safetensors"],
        ),
        (loader(3, "CLIPLoader", [UMT5, "wan", "default"]), "X2VLoadT5", [UMT5, "auto"]),
        (loader(3, "CLIPLoader", [UMT5, "wan"]), "X2VLoadT5", [UMT5, "auto"]),  # older than `device`
        (
            loader(3, "CLIPVisionLoader", ["clip_vision_h.safetensors"]),
            "X2VLoadCLIPVision",
            ["clip_vision_h.safetensors"],
        ),
    ],
)
def test_a_loader_is_swapped(made, ours, values):
    saved = workflow(made)
    before = copy.deepcopy(saved)
    changed, (found,) = swap(saved, {})
    assert saved == before
    assert (found.node, found.was, found.now, found.file) == ("3", made["type"], ours, values[0])
    (after,) = changed["nodes"]
    assert after["type"] == ours
    assert after["widgets_values"] == values
    properties = {"Node name for S&R": ours, "cnr_id": "x2v-quant", "models": made["properties"]["models"]}
    assert after["properties"] == properties
    kept = made.keys() - {"type", "widgets_values", "properties"}
    assert {key: after[key] for key in kept} == {key: made[key] for key in kept}


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (loader(3, "UNETLoader", ["hidream_i1.safetensors", "default"]), "the name hidream_i1.safetensors is none of"),
        (loader(3, "UNETLoader", ["wan/hidream.safetensors", "default"]), "is none of a model"),
        (loader(3, "CLIPLoader", [UMT5, "ltxv", "default"]), "its type is ltxv, and Load Quantized T5 reads only wan"),
        (loader(3, "CLIPLoader", [UMT5, "wan", "cpu"]), "its device is cpu, and Load Quantized T5 lets"),
        (
            loader(3, "CLIPVisionLoader", ["sigclip_vision.safetensors"]),
            "the name sigclip_vision.safetensors is not that of",
        ),
        (loader(3, "DualCLIPLoader", ["a", "b", "flux"]), "two text encoders"),
        (loader(3, "CheckpointLoaderSimple", ["a"]), "from one file"),
    ],
)
def test_a_loader_is_left_alone(made, why):
    saved = workflow(made)
    changed, (found,) = swap(saved, {})
    assert changed == saved
    assert found.now == ""
    assert why in found.why


def slots(*entries):
    """(name, link) of widgets."""
    return [
        {"name": n, "localized_name": n, "type": "COMBO", "widget": {"name": n}, "link": link} for n, link in entries
    ]


def test_a_linked_file_stays_linked():
    """The slot before it goes, so that the link ends at another number."""
    made = loader(3, "UNETLoader", [WAN, "default"])
    made["inputs"] = slots(("weight_dtype", None), ("unet_name", 8))
    saved = workflow(made, node(2, "PrimitiveNode", [WAN]), links=[(8, 2, 0, 3)])
    saved["links"][0][4] = 1
    changed, _ = swap(saved, {})
    after = changed["nodes"][0]
    assert after["inputs"] == [
        {"name": "model_name", "type": "COMBO", "widget": {"name": "model_name"}, "link": 8},
    ]
    assert changed["links"] == [[8, 2, 0, 3, 0, "MODEL"]]


@pytest.mark.parametrize(
    "told",
    [
        {"inputs": slots(("weight_dtype", 8))},
        {"widgets_values": [WAN]},
    ],
    ids=["linked", "shown"],
)
def test_what_ours_does_not_have_is_not_taken_from_elsewhere(told):
    made = loader(3, "UNETLoader", [WAN, "default"]) | told
    host = node(5, "inner", properties={"proxyWidgets": [["3", "weight_dtype"]] if "inputs" not in told else []})
    saved = workflow(host, subgraphs=[subgraph("inner", made, links=[(8, -10, 0, 3)])])
    changed, (found,) = swap(saved, {})
    assert changed == saved
    assert found.why == "another node sets its weight_dtype, which our loader does not have"


def test_what_shows_a_widget_elsewhere_names_it_as_ours():
    made = loader(3, "UNETLoader", [WAN, "default"])
    made["inputs"] = slots(("unet_name", 8))
    inner = subgraph("inner", made, links=[(8, -10, 0, 3)], inputs=[("unet_name", "COMBO", [8])])
    shown = [["3", "unet_name"], ["4", "unet_name"], ["3", "control_after_generate"]]
    saved = workflow(
        node(5, "inner", [WAN], properties={"proxyWidgets": shown}),
        loader(3, "CLIPLoader", [UMT5, "wan"]),
        subgraphs=[inner],
    )
    saved["extra"] = {"linearData": {"inputs": [["3", "clip_name"], ["5", "unet_name"]], "outputs": ["9"]}}
    changed, found = swap(saved, {})
    assert [(one.graph, one.now) for one in found] == [("", "X2VLoadT5"), ("inner", "X2VLoadDiT")]
    host = changed["nodes"][0]
    assert host["properties"]["proxyWidgets"] == [["3", "model_name"], *shown[1:]]
    assert host["widgets_values"] == [WAN]
    assert changed["definitions"]["subgraphs"][0]["inputs"] == inner["inputs"]  # its name is the user's
    assert changed["extra"]["linearData"]["inputs"] == [["3", "text_encoder_name"], ["5", "unet_name"]]


def test_files_are_replaced_where_they_are_named():
    inner = subgraph("inner", loader(3, "UNETLoader", [WAN, "default"]))
    saved = workflow(node(5, "inner", [WAN, 7]), loader(4, "CLIPLoader", [UMT5, "wan"]), subgraphs=[inner])
    changed, _ = swap(saved, {WAN: "wan_int8.safetensors"})
    host, text = changed["nodes"]
    (dit,) = changed["definitions"]["subgraphs"][0]["nodes"]
    assert host["widgets_values"] == ["wan_int8.safetensors", 7]
    assert dit["widgets_values"] == ["wan_int8.safetensors"]
    assert dit["properties"]["models"] == []  # the download of another file
    assert text["widgets_values"] == [UMT5, "auto"]
    assert text["properties"]["models"] == [download(UMT5)]


def test_a_prompt_is_swapped():
    prompt = {
        "3": {"class_type": "UNETLoader", "inputs": {"unet_name": WAN, "weight_dtype": "default"}},
        "4": {"class_type": "CLIPLoader", "inputs": {"clip_name": UMT5, "type": "wan"}, "_meta": {"title": "Text"}},
        "5": {"class_type": "UNETLoader", "inputs": {"unet_name": WAN, "weight_dtype": ["7", 0]}},
        "6": {"class_type": "KSampler", "inputs": {"model": ["3", 0]}},
    }
    changed, found = swap(prompt, {UMT5: "umt5_int8.pth"})
    assert changed == {
        "3": {"class_type": "X2VLoadDiT", "inputs": {"model_name": WAN}},
        "4": {
            "class_type": "X2VLoadT5",
            "inputs": {"text_encoder_name": "umt5_int8.pth", "tokenizer": "auto"},
            "_meta": {"title": "Text"},
        },
        "5": prompt["5"],
        "6": prompt["6"],
    }
    assert [one.now for one in found] == ["X2VLoadDiT", "X2VLoadT5", ""]


@pytest.mark.skipif(official_templates.folder() is None, reason=f"{official_templates.PACKAGE} is not installed")
def test_official_templates_keep_the_rest():
    """Of every node that is no loader nothing but the names of what an instance shows, and every link at its input."""
    for name, saved in official_templates.with_loaders().items():
        changed, found = swap(saved, {})
        swapped = {(one.graph, one.node) for one in found if one.now}
        graphs = zip(graphs_of(saved), graphs_of(changed), strict=True)
        for before, after in graphs:
            for old, new in zip(before["nodes"], after["nodes"], strict=True):
                if (after.get("name", ""), str(old["id"])) in swapped:
                    stand_in = STAND_INS[old["type"]]
                    assert new["type"] == stand_in.ours, name
                    assert old["outputs"] == new["outputs"], name
                else:
                    assert without_shown(old) == without_shown(new), name
            # what the frontend saves itself is not always numbered so: only links to what was swapped
            ours = {str(new["id"]): new for new in after["nodes"] if new["type"].startswith("X2V")}
            for link in after["links"]:
                number, target, place = (
                    (link[0], link[3], link[4])
                    if isinstance(link, list)
                    else (link["id"], link["target_id"], link["target_slot"])
                )
                if str(target) in ours:
                    assert ours[str(target)]["inputs"][place]["link"] == number, name
        again, found = swap(changed, {})
        assert again == changed
        assert not any(one.now for one in found)


def graphs_of(saved):
    return [saved, *saved.get("definitions", {}).get("subgraphs", [])]


def without_shown(made):
    properties = {key: value for key, value in made.get("properties", {}).items() if key != "proxyWidgets"}
    return made | {"properties": properties}


def test_remarks_in_a_prompt_stay():
    prompt = {"1": {"class_type": "UNETLoader", "inputs": {"unet_name": WAN}}, "note": {"class_type": 3}, "more": [1]}
    changed, (found,) = swap(prompt, {})
    assert found.now == "X2VLoadDiT"
    assert {key: changed[key] for key in ("note", "more")} == {"note": {"class_type": 3}, "more": [1]}


def test_widgets_that_are_shown_in_a_text():
    """As some releases of the frontend wrote them."""
    inner = subgraph("inner", loader(1, "UNETLoader", [WAN]))
    host = node(5, "inner", [WAN], properties={"proxyWidgets": '[["1", "unet_name"]]'})
    changed, _ = swap(workflow(host, subgraphs=[inner]), {})
    assert changed["nodes"][0]["properties"]["proxyWidgets"] == [["1", "model_name"]]
