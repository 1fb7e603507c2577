"""x2v-quant demo-models: the files land where ComfyUI looks, and a mistyped folder is refused."""

import argparse
import json
from pathlib import Path

import pytest

from x2v_quant.demo import assets, install
from x2v_quant.demo.graph import TASKS, TEMPLATES, workflow


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def offered(models):
    """Every name that a loader of the demo's workflows can find below `models` and in the input folder."""
    places = [*(models / folder for folder in assets.FOLDERS.values()), models.parent / "input"]
    return {path.name for place in places for path in place.iterdir()}


def test_the_templates_find_all_that_they_name(models):
    (models.parent / "input").mkdir()
    found = install.install(models)
    for task in TASKS:
        values = [value for node in workflow(TEMPLATES[task])["nodes"] for value in node.get("widgets_values", [])]
        named = {value for value in values if isinstance(value, str) and Path(value).suffix and "\n" not in value}
        assert named
        assert named <= offered(models)
    assert json.loads(json.dumps(found)) == found
    *listed, _, summary = install.lines(found)
    assert [Path(line) for line in listed] == [*assets.paths(models), models.parent / "input" / install.START_IMAGE]
    assert summary.startswith(f"{len(listed)} files, ")


def test_nothing_is_written_beside_a_models_folder_that_stands_alone(models):
    install.install(models)
    assert list(models.parent.iterdir()) == [models]


def test_a_folder_that_is_not_there_is_refused(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    install.arguments(parser)
    assert parser.parse_args([str(tmp_path)]).folder == tmp_path
    with pytest.raises(SystemExit):
        parser.parse_args([str(tmp_path / "gone")])
    refusal = f"there is no folder {tmp_path / 'gone'}: name the models folder of a ComfyUI"
    assert refusal in " ".join(capsys.readouterr().err.split())
