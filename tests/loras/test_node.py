"""Load LoRA, the node."""

import os

import folder_paths
import pytest
from distance import distance
from safetensors.torch import save_file

pytestmark = pytest.mark.usefixtures("inference")
NAME = "node_lora.safetensors"


@pytest.fixture
def node(tmp_path, plain, monkeypatch):
    """The node with one LoRA in its folder."""
    from x2v_quant.nodes.lora import LoadLoRA

    save_file(plain(), tmp_path / NAME)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(tmp_path)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return LoadLoRA


def test_nodes_in_a_row_stack(node, models, output, dequantized, plain):
    import comfy.sd

    model = models("nvfp4")
    patched = model
    for strength, mode in ((1.0, "auto"), (-0.5, "bypass"), (0.25, "auto")):
        patched, report = node.execute(patched, NAME, strength, mode).args
        assert report.startswith(f"The whole LoRA is used: {NAME}, strength {strength:g} (")
    wanted, _ = comfy.sd.load_lora_for_models(dequantized(model), None, plain(), 0.75, 0)
    # what is not quantized is merged into 16-bit weights
    assert distance(output(patched), output(wanted)) < 0.02 * distance(output(model), output(wanted))
    output(model)


def test_a_changed_file_is_read_again(node, plain, tmp_path):
    before = node.fingerprint_inputs(lora_name=NAME, strength=1.0, mode="auto")
    assert node.fingerprint_inputs(lora_name=NAME) == before
    os.utime(tmp_path / NAME, ns=(1, 1))
    assert node.fingerprint_inputs(lora_name=NAME) != before


def test_its_list_is_cores(node):
    (chosen,) = (each for each in node.define_schema().inputs if each.id == "lora_name")
    assert chosen.options == [NAME]
