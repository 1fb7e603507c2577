"""Every regular expression of the pack costs as much as what it reads is long, and no more."""

import contextlib
import dataclasses
import importlib
import pkgutil
import re
import time
from collections.abc import Iterator

import pytest

import x2v_quant
from x2v_quant.checkpoints import embedding
from x2v_quant.checkpoints.expert_names import WORD
from x2v_quant.layer_rules import RuleError, parse_overrides
from x2v_quant.layer_rules.default import BY_NAME, IN_BLOCK
from x2v_quant.quantizing.saving import READ_QUANTIZED
from x2v_quant.runtime.compiling.apply import OPTIONS
from x2v_quant.runtime.sampling.schedule import parse_layers

try:
    from re import _parser as parser
except ImportError:  # Python 3.10
    import sre_parse as parser

LENGTH = 10_000
# ten times what the slowest takes on a busy core; one whose cost is quadratic takes five times as long
SECONDS = 0.05
NOT_THE_PACK = ("x2v_quant.tests", "x2v_quant.benchmarks", "x2v_quant.dev", "x2v_quant.__main__")
# those that look for something anywhere in a text; all others are compared from its beginning
SEARCHED = [WORD, OPTIONS, IN_BLOCK, re.compile(READ_QUANTIZED), *(pattern for pattern, _ in BY_NAME)]


def patterns(value: object, depth: int = 0) -> Iterator[re.Pattern]:
    """In a constant of a module, as deep as tables are."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, str) and re.search(r"[\\*+?(|]", value):
        try:
            yield re.compile(value)
        except re.error:
            return
    elif isinstance(value, tuple | list | set | frozenset | dict) and depth < 8:
        for inner in [*value, *(value.values() if isinstance(value, dict) else ())]:
            yield from patterns(inner, depth + 1)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from patterns(getattr(value, field.name), depth + 1)


def of_the_pack() -> dict[str, list[re.Pattern]]:
    """Module -> its patterns; of strings those too that only look like one."""
    found: dict[str, list[re.Pattern]] = {}
    for module in pkgutil.walk_packages(x2v_quant.__path__, "x2v_quant."):
        if not module.name.startswith(NOT_THE_PACK) and not module.name.endswith("__main__"):
            values = vars(importlib.import_module(module.name))
            constants = [value for name, value in values.items() if name.strip("_").isupper()]
            found[module.name] = list(patterns(constants))
    return {name: compiled for name, compiled in found.items() if compiled}


def hostile(pattern: re.Pattern) -> Iterator[str]:
    """Long repetitions of what the pattern has in it, and of what stands between."""
    units = {".", "a", "a.", ".a", "_", "1", "1.", "_1.", " ", "\n", "-", "/", ",", "[", "a\n"}
    _literals(parser.parse(pattern.pattern, pattern.flags), units)
    for unit in units:
        text = unit * (LENGTH // len(unit))
        yield from (text, f"a.{text}!")


def _literals(parsed, units: set[str], run: str = "") -> str:
    for op, argument in parsed:
        name = str(op)
        if name == "LITERAL":
            run += chr(argument)
        elif name == "SUBPATTERN":
            run = _literals(argument[3], units, run)
        elif name == "BRANCH":
            for branch in argument[1]:
                _literals(branch, units, run)
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            _literals(argument[2], units)
            units.add(run or "a")
        elif name in ("IN", "ANY"):
            run += "1" if "DIGIT" in str(argument) else "a"
    units.add(run or "a")
    return run


def slow(pattern: re.Pattern, calls) -> list[str]:
    found = []
    for text in hostile(pattern):
        for call in calls:
            begun = time.process_time()
            call(text)
            seconds = time.process_time() - begun
            if seconds > SECONDS:
                found.append(f"{pattern.pattern} takes {seconds:.2f} s for {text[:12]!r}...")
                break
    return found


PACK = of_the_pack()


@pytest.mark.parametrize("module", PACK)
def test_patterns_that_begin_where_the_text_does(module):
    assert not [line for one in PACK[module] for line in slow(one, (one.match, one.fullmatch))]


@pytest.mark.parametrize("pattern", SEARCHED, ids=lambda pattern: pattern.pattern[:40])
def test_patterns_that_are_looked_for(pattern):
    assert not slow(pattern, (pattern.search, pattern.findall))


def test_the_tables_are_looked_through():
    """What the walk must not miss: patterns by themselves, in a table of rows and in an object of a table."""
    found = {pattern.pattern for compiled in PACK.values() for pattern in compiled}
    assert embedding.NAMES.pattern in found and len(found) > 300
    assert any("Attention" in pattern for pattern in found)


@pytest.mark.parametrize(
    "text", ["[,", ",", ",[", "[", "*,", "*a,", "[!", "],[", "a[,]b,"], ids=lambda text: f"{text!r} again and again"
)
def test_layers_that_are_no_names(text):
    """80 kB took 13 seconds, in which nothing else ran."""
    begun = time.process_time()
    for parse, line in ((parse_layers, text * 40_000), (parse_overrides, f"{text * 40_000} = int8")):
        with contextlib.suppress(RuleError):
            parse(line)
    assert time.process_time() - begun < 1


def test_a_comma_between_brackets_is_a_character():
    words = [rule.pattern for rule in parse_layers("a[0,1].b,[!,],c],d[e,  f ,[g,h")]
    assert words == ["a[0,1].b", "[!,],c]", "d[e", "f", "[g", "h"]
