"""x2v-quant demo-models: the files land where ComfyUI looks, and a mistyped folder is refused."""

import argparse
import json
from pathlib import Path

import pytest

from x2v_quant.demo import assets, install


def test_every_file_is_written_and_listed(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    found = install.install(models)
    assert json.loads(json.dumps(found)) == found
    summary, _, *listed = install.lines(found)
    assert [Path(line) for line in listed] == assets.paths(models)
    assert summary.startswith(f"Saved {len(listed)} files, ")
    assert list(tmp_path.iterdir()) == [models]


def test_a_folder_that_is_not_there_is_refused(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    install.arguments(parser)
    assert parser.parse_args([str(tmp_path)]).folder == tmp_path
    with pytest.raises(SystemExit):
        parser.parse_args([str(tmp_path / "gone")])
    refusal = f"there is no folder {tmp_path / 'gone'}: name the models folder of a ComfyUI"
    assert refusal in " ".join(capsys.readouterr().err.split())
