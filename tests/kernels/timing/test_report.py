"""Under what name a report is kept."""

import pytest

from x2v_quant.kernels.timing import report


@pytest.mark.parametrize(
    "machine,flags,command,name",
    [
        ("NVIDIA H200 (compute capability 9.0)", ["avx2"], "bench", "nvidia-h200"),
        ("CPU (AMD EPYC)", ["avx2"], "bench", "cpu-amd-epyc-avx2-2-threads"),
        ("CPU (AMD EPYC)", ["avx2", "avx512_f", "avx512_vnni"], "bench", "cpu-amd-epyc-avx512-vnni-2-threads"),
        ("CPU (AMD EPYC)", ["avx2", "avx512_f"], "bench", "cpu-amd-epyc-avx512-2-threads"),
        ("CPU (arm64)", [], "bench", "cpu-arm64-2-threads"),
        ("NVIDIA H200 (compute capability 9.0)", [], "bench --kernels", "nvidia-h200-kernels"),
        ("NVIDIA H200 (compute capability 9.0)", [], "bench --quick", "nvidia-h200-quick"),
    ],
)
def test_results_go_by_the_machines_name(machine, flags, command, name, tmp_path):
    found = {"machine": machine, "cpu": {"flags": flags}, "threads": 2, "command": command, "cases": []}
    assert report.write(found, str(tmp_path)).name == f"{name}.json"
