"""Names of GPUs as people and drivers write them, and what is said of those that are not in the table."""

import pytest

from x2v_quant.advice.errors import AdviceError
from x2v_quant.advice.gpus import GIB, GPUS, named, of_device


@pytest.mark.parametrize(
    "text,name,gb",
    [
        ("RTX 3060 12GB", "RTX 3060", 12),
        ("rtx3060", "RTX 3060", 12),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "RTX 4070 Ti Super", 16),
        ("4070ti", "RTX 4070 Ti", 12),
        ("4060 ti", "RTX 4060 Ti", 8),
        ("4060 Ti 16 GiB", "RTX 4060 Ti", 16),
        ("RTX 3060 8GB", "RTX 3060", 8),
        ("A100 80GB", "A100", 80),
        ("H100", "H100", 80),
    ],
)
def test_names(text, name, gb):
    row = named(text)
    assert (row.name, row.gb, row.stands_in) == (name, gb, "")


@pytest.mark.parametrize("row", GPUS, ids=lambda row: f"{row.name} {row.gb}")
def test_every_row_is_found_and_multiplies_what_its_generation_does(row):
    assert named(f"{row.name} {row.gb}GB") == row
    assert 0 < row.fp16 < row.int8 and row.bandwidth > 0
    assert bool(row.fp8) == (row.capability >= (8, 9)) and bool(row.nvfp4) == (row.capability >= (10, 0))


def test_a_capability_with_vram_takes_the_slowest_of_its_generation():
    row = named("8.6 20GB")
    assert (row.capability, row.gb, row.stands_in, row.int8) == ((8, 6), 20, "RTX 3050", named("3050").int8)
    assert named("8.7 8GB").stands_in == "RTX 3050"


@pytest.mark.parametrize(
    "text,said",
    [
        ("RTX 4095", "No GPU 'RTX 4095' in the table. Near names: RTX 4090"),
        ("nothing", "No GPU 'nothing' in the table. Or give compute capability and VRAM, like --gpu \"8.6 12GB\"."),
        ("8.6", "No GPU '8.6' in the table."),
        ("RTX 4090 Laptop", "No GPU 'RTX 4090 Laptop' in the table. Near names: RTX 4090"),
        ("6.1 8GB", "'6.1 8GB' has compute capability 6.1, and nothing here is known of any below 7.5."),
    ],
)
def test_what_is_not_known_is_refused_with_what_to_do(text, said):
    with pytest.raises(AdviceError) as error:
        named(text)
    assert str(error.value).startswith(said)


def test_a_device_has_the_bytes_that_it_reports():
    row = of_device("NVIDIA GeForce RTX 3080", (8, 6), int(11.7 * GIB))
    assert row.bandwidth == named("RTX 3080 12GB").bandwidth and row.vram == pytest.approx(11.7 * GIB)
    assert of_device("NVIDIA GeForce RTX 4090 Laptop GPU", (8, 9), 16 * GIB).stands_in == "RTX 4060"
