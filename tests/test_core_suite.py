"""ComfyUI's own unit tests, with this pack imported: nothing of core may behave differently because we are there."""

import os
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SUITES = (
    "tests-unit/comfy_quant",
    "tests-unit/execution_test/validate_node_input_test.py",
    "tests-unit/folder_paths_test",
)

IMPORT_PACK = """
import sys
from comfy.cli_args import args
import torch
args.cpu = not torch.cuda.is_available()
import x2v_quant.loading, x2v_quant.kernels, x2v_quant.linear
"""


def test_core_passes_with_the_pack_imported(comfyui, tmp_path):
    (tmp_path / "import_x2v_quant.py").write_text(IMPORT_PACK)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(comfyui), str(tmp_path)])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "import_x2v_quant", "-p", "no:cacheprovider", *SUITES]
    result = subprocess.run(command, cwd=comfyui, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    passed = int(re.search(r"(\d+) passed", result.stdout).group(1))
    assert passed >= 40
    assert "failed" not in result.stdout
