"""The real server, once for all tests of this folder, on CPU with the demo's models."""

from pathlib import Path

import pytest

from x2v_quant.headless.server import serve

REFERENCE = Path(__file__).parent / "reference_pack"


@pytest.fixture(scope="session")
def server(demo_models):
    with serve(demo_models.parent, cpu=True, more_packs=[REFERENCE]) as running:
        yield running


@pytest.fixture(scope="session")
def object_info(server):
    return server.client.object_info()
