"""Who takes part, here and on machines that are only described."""

import pytest
import torch

from x2v_quant.benchmarks.fidelity import ggml
from x2v_quant.benchmarks.fidelity.contestants import (
    BASELINE,
    CORE_ROWS,
    FILES,
    GGUF,
    GGUF_ROWS,
    OURS,
    ROUNDED,
    contestants,
    missing,
    ours,
    scheme_of,
    ways,
)
from x2v_quant.formats import FORMATS, family
from x2v_quant.kernels import choose, survey
from x2v_quant.kernels.machine import Machine, default_device, describe
from x2v_quant.schemes import AUTO, resolve

HERE = describe(default_device())
H200 = Machine("cuda", "H200", (9, 0), libraries=frozenset({"vllm", "sgl-kernel", "torchao", "triton", "deep-gemm"}))
PLAIN_4090 = Machine("cuda", "RTX 4090", (8, 9), libraries=frozenset())
machines = pytest.mark.parametrize("machine", [HERE, H200, PLAIN_4090], ids=["here", "an-h200", "a-plain-4090"])


@machines
def test_every_kernel_that_runs_and_can_be_asked_for_has_a_row(machine):
    rows = {(row.file, row.kernel) for row in ours(machine, torch.bfloat16)}
    for format_name in FILES:
        for kernel, reason in survey(format_name, machine, dtype=torch.bfloat16).items():
            reached = scheme_of(format_name, kernel, machine, torch.bfloat16) is not None
            assert ((format_name, kernel) in rows) == (reason is None and reached)


@machines
def test_a_row_asks_for_its_own_kernel(machine):
    for row in ours(machine, torch.bfloat16):
        scheme, kernel = resolve(row.scheme), row.kernel
        assert scheme.format in (None, family(row.file))
        unknown = FORMATS[row.file].smooth or FORMATS[row.file].settings
        assert row.stored == "" if unknown else family(row.stored.split(" on ")[0]) == family(row.file)
        if scheme.name == AUTO:
            assert choose(row.file, machine, dtype=torch.bfloat16).kernel.name == kernel
        else:
            assert scheme.kernel == kernel


@machines
def test_every_format_has_one_row_that_auto_would_take(machine):
    taken = [row.file for row in ours(machine, torch.bfloat16) if row.auto and row.text == "bf16"]
    assert sorted(taken) == sorted(FILES)


@machines
def test_ways_of_rounding_are_measured_on_weights_alone_and_with_activations(machine):
    rows, found = ours(machine, torch.bfloat16), ways(FORMATS)
    assert {"int8-channel", "int4-g128", "nvfp4"} <= found.keys() <= ROUNDED.keys()
    for format_name, methods in found.items():
        kernels = {"dequant", "reference"} if FORMATS[format_name].activation != "float" else {"dequant"}
        made = {(row.rounding, row.kernel) for row in rows if row.file == format_name and row.rounding}
        assert made == {(method, kernel) for method in methods for kernel in kernels}
    assert all(row.rounding == "" or not row.auto for row in rows)


def test_a_way_that_a_format_does_not_take_has_no_row():
    assert ways(["int4-g128-marlin", "mxfp8"]) == {}
    assert ways(["int4-g128", "int4-g128-smooth"]) == {"int4-g128": ["mse", "gptq"], "int4-g128-smooth": ["awq"]}


def test_libraries_bring_their_rows():
    with_libraries, without = ({row.name for row in ours(m, torch.bfloat16)} for m in (H200, PLAIN_4090))
    assert {"fp8-channel (vllm)", "fp8-channel (sgl)", "int8-channel (vllm)"} <= with_libraries - without


def test_text_encoders_take_part_in_int8_and_fp8():
    rows = [row for row in ours(HERE, torch.bfloat16) if row.text != "bf16"]
    assert {(row.file, row.text) for row in rows} == {("int8-channel", "int8"), ("fp8-channel", "fp8")}


@pytest.mark.parametrize("gguf", [True, False])
def test_the_baseline_comes_first_and_gguf_only_where_it_is(gguf):
    rows = contestants(HERE, torch.bfloat16, gguf)
    assert rows[0] == BASELINE
    assert any(row.loader == GGUF for row in rows) == gguf
    absent = missing(gguf)
    assert {row.name for row in (*CORE_ROWS, *GGUF_ROWS)} == {row.name for row in rows if row.loader != OURS} ^ (
        absent.keys() | {BASELINE.name}
    )
    assert any("pip install pywhispercpp" in reason for reason in absent.values()) == (gguf and ggml.find() is None)
    assert len({row.name for row in rows}) == len(rows)
    assert {row.loader for row in rows} >= {OURS, "core"}
