"""Lists of formats that claim to be complete are: a format that is new to the tables is in each of them, in both
languages."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from x2v_quant.checkpoints.encodings import COMFYUI, WRITTEN
from x2v_quant.formats import FORMATS, family
from x2v_quant.formats.bits import bits_per_code
from x2v_quant.layer_rules.format_names import CHOICES
from x2v_quant.loras.apply import ENOUGH_BITS
from x2v_quant.schemes import SCHEMES

ROOT = Path(__file__).parents[1]
README, DOCS, HELP = (
    ("README.md", "README.zh.md"),
    ("docs/{}.md", "docs/{}.zh.md"),
    ("web/docs/{}.md", "web/docs/{}/zh.md"),
)
WRITTEN_BY_COMMANDS = r"<!-- (\w+):begin -->.*?<!-- \1:end -->"
FIRST_COLUMN = r"^\| ([^|]+) \|"
SHAPE = (256, 256)  # that every format can have
# markers that are one format only with what is written beside them
SEVERAL = {"int8_tensorwise", "float8_e4m3fn"}


def row(cell: str) -> str:
    """Of the row of a table whose first cell ends so."""
    return rf"^\|[^|\n]*{re.escape(cell)} \|.*$"


def few_bits(name: str) -> bool:
    """Whether LoRAs stay beside weights of this format."""
    return bits_per_code(FORMATS[name].quantize(torch.ones(SHAPE), torch.float32)) < ENOUGH_BITS


def cores() -> set[str]:
    """What ComfyUI's own loaders read, if not this release's then a newer one's."""
    return {family(name) for name in WRITTEN[COMFYUI]} & set(CHOICES)


@dataclass(frozen=True)
class List:
    """`files`: in both languages. `where`: a pattern for the part of a file that is the list."""

    files: tuple[str, str]
    where: str


def of(files, name: str, where: str) -> List:
    return List(tuple(file.format(name) for file in files), where)


# a page that lists formats is a row
EVERY_FORMAT = {
    "README": List(README, r"^\*\*(?:Formats|格式).*$"),
    "what runs where": of(DOCS, "formats-and-schemes", FIRST_COLUMN),
    "convert": of(DOCS, "quantize-your-own", row("`--format`")),
    "Quantize Model": of(HELP, "X2VQuantizeModel", FIRST_COLUMN),
    "Load Quantized DiT": of(HELP, "X2VLoadDiT", FIRST_COLUMN),
}
CORES = {
    "convert --dialect comfyui": of(DOCS, "quantize-your-own", row("`--dialect comfyui`")),
    "Save Quantized Model": of(HELP, "X2VSaveModel", row("`comfyui`")),
    "Save Quantized CLIP": of(HELP, "X2VSaveCLIP", row("`comfyui`")),
}
FEW_BITS = {"Load LoRA": of(HELP, "X2VLoadLoRA", r"^\|[^|]*`mode`[^|]*\|.*$")}


def named(file: str, where: str) -> set[str]:
    text = re.sub(WRITTEN_BY_COMMANDS, "", (ROOT / file).read_text("utf-8"), flags=re.DOTALL)
    return {name for part in re.findall(where, text, re.MULTILINE) for name in re.findall(r"[a-z0-9-]+", part)}


def files(lists: dict[str, List]):
    found = [pytest.param(file, one.where, id=f"{name}-{file}") for name, one in lists.items() for file in one.files]
    return pytest.mark.parametrize("file,where", found)


@files(EVERY_FORMAT)
def test_every_format_is_named(file, where):
    assert set(CHOICES) - named(file, where) == set()


@files(CORES)
def test_what_comfyui_reads_is_named_and_nothing_else(file, where):
    assert named(file, where) & set(CHOICES) == cores()


@files(FEW_BITS)
def test_what_loras_stay_beside_is_named_and_nothing_else(file, where):
    assert named(file, where) & set(CHOICES) == {name for name in CHOICES if few_bits(name)}


def test_every_format_has_a_scheme():
    assert set(CHOICES) - {scheme.format for scheme in SCHEMES} == set()


def test_a_marker_of_comfyuis_that_is_one_format_is_understood_as_a_scheme():
    """As `asym_w4a8_int8` is w4a8."""
    names = {alias for scheme in SCHEMES for alias in (scheme.name, *scheme.aliases)}
    assert {FORMATS[name].marker for name in cores()} - SEVERAL - names == set()
