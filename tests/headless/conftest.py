"""A saved prompt that needs no server to be read."""

import json

import pytest
from fake_comfyui import PROMPT


@pytest.fixture
def workflow(tmp_path):
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(PROMPT))
    return file
