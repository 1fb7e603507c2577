"""Where single tensors are said to be."""

import sys

import pytest
import safetensors.torch
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from x2v_quant.formats import FORMATS
from x2v_quant.runtime.memory.mappings import file_mappings
from x2v_quant.runtime.memory.residency import plain_tensors, residency_of

VALUES = torch.arange(5000, dtype=torch.float32)
tells_files = pytest.mark.skipif(sys.platform == "darwin", reason="counts mapped files as RAM")


def where(tensor):
    return residency_of(tensor, file_mappings())


def read_safetensors(path):
    safetensors.torch.save_file({"x": VALUES}, path)
    with safetensors.safe_open(path, framework="pt") as file:
        return file.get_tensor("x")


def read_torch(path):
    torch.save({"x": VALUES}, path)
    return torch.load(path, weights_only=True, mmap=True)["x"]


@tells_files
@pytest.mark.parametrize("read", [read_safetensors, read_torch])
def test_a_mapped_file(read, tmp_path):
    tensor = read(tmp_path / "file")
    assert torch.equal(tensor, VALUES)
    assert where(tensor) == where(tensor[7:]) == "disk"
    assert where(tensor.clone()) == "ram"


def test_memory_shared_between_processes_is_no_file():
    assert where(VALUES.clone().share_memory_()) == "ram"


def test_what_cores_reader_has_marked():
    from comfy.memory_management import TensorFileSlice

    tensor = VALUES.clone()
    tensor.untyped_storage()._comfy_tensor_file_slice = TensorFileSlice(None, None, 0, tensor.nbytes)
    assert where(tensor[7:]) == "disk"


def test_a_device():
    with FakeTensorMode():
        tensor = torch.empty(5, device="cuda")
    assert where(tensor) == "device"


def test_nowhere():
    assert where(torch.empty(5, device="meta")) is None


def test_a_view_of_what_core_has_pinned(monkeypatch):
    import comfy.model_management

    buffer = torch.zeros(5000, dtype=torch.uint8)
    assert where(buffer[1000:]) == "ram"
    monkeypatch.setitem(comfy.model_management.PINNED_MEMORY, buffer.data_ptr(), buffer.nbytes)
    assert where(buffer[1000:]) == "pinned"


@pytest.mark.gpu
def test_pinned_by_torch():
    assert where(VALUES.pin_memory()) == "pinned"


@pytest.mark.parametrize("name", FORMATS)
def test_a_quantized_weight_has_codes_and_scales(name):
    weight = FORMATS[name].quantize(torch.randn(128, 4096), torch.bfloat16)
    found = list(plain_tensors(torch.nn.Parameter(weight, requires_grad=False)))
    assert weight._qdata.data_ptr() in [part.data_ptr() for part in found]
    assert len(found) > 1
    assert not any(type(part) is type(weight) for part in found)
