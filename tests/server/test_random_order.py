"""A short run in random order on a server of its own; `python tests/run_random_order.py` does long ones."""

import shutil
from pathlib import Path

import pytest
from random_order import Driver, write_models
from random_order.recipes import FP8, INT8, Recipe

from x2v_quant.headless.server import serve

pytestmark = pytest.mark.slow

STEPS, TURNS = 60, 8
MEGABYTES = 64  # what a process may grow by once everything has been loaded
REFERENCE = Path(__file__).parent / "reference_pack"


@pytest.fixture(scope="module")
def driver(demo_models, tmp_path_factory):
    base = tmp_path_factory.mktemp("order")
    shutil.copytree(demo_models, base / "models")
    write_models(base / "models")
    with serve(base, cpu=True, more_packs=[REFERENCE]) as server:
        yield Driver(server, seed=20)


def test_the_same_graph_gives_the_same_latents_whatever_came_before_it(driver):
    report = driver.run(STEPS)
    assert not report.wrong, "\n".join(report.wrong)
    assert report.steps == STEPS
    assert len(report.actions) >= 9


def test_nothing_grows_over_alternations(driver):
    megabytes, tensors = driver.alternate([Recipe(INT8, ("lora",)), Recipe(FP8)], TURNS)
    # a model that waits to be collected is counted in some turns: what is never given back shows in the least
    assert min(tensors[TURNS // 2 :]) <= min(tensors[: TURNS // 2]), tensors
    assert megabytes[-1] - megabytes[TURNS // 2] < MEGABYTES
    assert not driver.report.wrong, "\n".join(driver.report.wrong)
