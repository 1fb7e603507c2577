"""One browser for all tests of a file.

X2V_SCREENSHOTS=FOLDER keeps a picture of every stage, which else lies in pytest's temporary folder.
X2V_README_PICTURES=docs/images renews those that README and the pages under docs/ show.
"""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

IN_PAGES = (
    "templates",
    "demo_t2v",
    "demo_t2v_zh",
    "kernel_report",
    "compare",
    "help_X2VScheme",
    "missing_file",
)


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory):
    folder = Path(os.environ.get("X2V_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    readme = os.environ.get("X2V_README_PICTURES")
    if readme:
        for name in IN_PAGES:
            if (folder / f"{name}.jpg").exists():  # a run of some tests renews theirs
                shutil.copy(folder / f"{name}.jpg", readme)


# a module each: while Playwright runs, asyncio.run of other tests in the same thread is refused
@pytest.fixture(scope="module")
def opened(server, screenshots):
    """with opened(**settings of ComfyUI's) as frontend: another page in the same browser."""
    pytest.importorskip("playwright.sync_api", reason="the playwright package is not installed")
    import frontend as ours

    if ours.BROWSER is None:
        pytest.skip(f"no browser on PATH (looked for {', '.join(ours.BROWSERS)})")
    with ours.chromium() as browser:

        @contextmanager
        def open_page(**settings):
            with ours.open_frontend(browser, server.url, screenshots, **settings) as page:
                yield page

        yield open_page


@pytest.fixture(scope="module")
def frontend(opened):
    """The page that most tests share; each opens its own workflow in it."""
    with opened() as page:
        yield page
