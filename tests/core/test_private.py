"""What of ComfyUI is read that is no interface: a probe for each, with what no longer works when it fails."""

import inspect
import re

import comfy.memory_management
import comfy.model_management
import pytest
import torch
from comfy.weight_adapter import BypassInjectionManager
from comfy_api.torch_helpers.torch_compile import apply_torch_compile_factory
from older_comfyui import NEWEST

from x2v_quant.core import private

# of releases before the newest that is tested
OLDER = re.compile("_pin(_registered|_stack_index|_balancer_(entry|priority))?")
newest = pytest.mark.skipif(not NEWEST, reason="names are those of ComfyUI 0.30")


def test_the_manager_of_a_bypass():
    manager = BypassInjectionManager()
    (injection,) = manager.create_injections(torch.nn.Module())
    assert private.bypass_manager(injection.inject) is manager, (
        "core's bypass keeps its manager elsewhere: LoRAs beside the weights are no longer found, so that they are not "
        "saved, not quantized with the weights, lost from a copy of the model and missing in the memory report"
    )
    assert private.bypass_manager(lambda patcher: None) is None
    assert private.bypass_manager(torch.nn.Module().train) is None


def test_the_modules_of_cores_compile_node():
    wrapper = apply_torch_compile_factory(compiled_module_dict={"diffusion_model.blocks.0": None})
    assert private.compiled_keys(wrapper) == ["diffusion_model.blocks.0"], (
        "core's wrapper keeps its compiled modules elsewhere: a model behind TorchCompileModel cannot be quantized"
    )


def test_memory_that_core_has_pinned(monkeypatch):
    values = torch.zeros(4)
    assert not private.is_page_locked(values)
    monkeypatch.setitem(comfy.model_management.PINNED_MEMORY, values.data_ptr(), values.nbytes)
    assert private.is_page_locked(values[2:])
    source = inspect.getsource(comfy.model_management.pin_memory)
    assert "ptr = tensor.data_ptr()" in source and "PINNED_MEMORY[ptr] = " in source, (
        "core notes what it has pinned elsewhere: the memory report counts page-locked weights as ordinary RAM"
    )


@newest
def test_tensors_that_core_has_left_in_their_file():
    values = torch.zeros(4)
    assert not private.is_file_slice(values)
    values.untyped_storage()._comfy_tensor_file_slice = None
    assert private.is_file_slice(values[2:])
    assert '"_comfy_tensor_file_slice"' in inspect.getsource(comfy.memory_management), (
        "core marks what it has not read yet in another way: the memory report counts it as RAM, not as in its file"
    )


@newest
@pytest.mark.parametrize("name", sorted(private.WHILE_LOADED))
def test_what_core_hangs_on_modules(name, comfyui):
    files = [*(comfyui / "comfy").glob("*.py"), *(comfyui / "comfy" / "weight_adapter").glob("*.py")]
    # core makes some names of a parameter's and an end
    written = name.replace("bias_", "weight_").removeprefix("weight") if name.endswith("lowvram_function") else name
    used = any(re.search(rf"(?<![a-z]){written}\b", file.read_text(encoding="utf-8")) for file in files)
    assert used or OLDER.fullmatch(name), (
        f"core hangs no {name} on modules any more: what it has in its place has to be named in WHILE_LOADED, or a "
        "quantized copy of a loaded model shares state with the model that it was made of"
    )
