"""Reports on files, as a program gets them."""

import json

import pytest

from x2v_quant.benchmarks.models import WanSize, write_pair
from x2v_quant.cli import main


@pytest.fixture
def inspect(capsys):
    """inspect(path) -> (exit status, the object on standard output)"""

    def run(path):
        status = main(["inspect", str(path), "--json"])
        return status, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """whole(kind) -> the path of a Wan's file that nothing is missing from"""
    folder, files = tmp_path_factory.mktemp("whole"), {}

    def path(kind):
        if kind not in files:
            files[kind] = write_pair(folder, WanSize(256, 512, 2, 64), kind)[1]
        return files[kind]

    return path
