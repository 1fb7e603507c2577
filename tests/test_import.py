"""The pack may be imported twice in one process: as the installed package and, by its path, as a custom node."""

import importlib.util
import sys
from pathlib import Path

import torch
from comfy_kitchen.tensor import QuantizedTensor

import x2v_quant
from x2v_quant import kernels


def import_by_path(name):
    root = Path(x2v_quant.__file__).parent
    spec = importlib.util.spec_from_file_location(name, root / "__init__.py", submodule_search_locations=[str(root)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run(pack_kernels, pack_formats):
    row = pack_formats.FORMATS["int8-channel"]
    tensor = QuantizedTensor.from_float(torch.eye(32), row.layout_name)
    machine = importlib.import_module(f"{pack_kernels.__name__}.machine")
    kernel = pack_kernels.choose("int8-channel", machine.describe(torch.device("cpu"))).kernel
    return kernel.linear(torch.arange(64.0).view(2, 32), tensor._qdata, tensor._params, None)


def test_imported_twice_both_work():
    from x2v_quant import formats

    import_by_path("custom_node_copy")
    again_kernels = importlib.import_module("custom_node_copy.kernels")
    again_formats = importlib.import_module("custom_node_copy.formats")
    first, second = run(kernels, formats), run(again_kernels, again_formats)
    assert torch.equal(first, second)
    assert torch.equal(run(kernels, formats), first)
    torch.testing.assert_close(first, torch.arange(64.0).view(2, 32), rtol=0.02, atol=0.3)
    assert len(again_kernels.KERNELS) == len(kernels.KERNELS)


def test_importing_the_package_imports_neither_comfy_nor_torch():
    import subprocess

    code = "import sys, x2v_quant; assert not {'torch', 'comfy'} & set(sys.modules), 'heavy import'"
    subprocess.run([sys.executable, "-c", code], check=True)
