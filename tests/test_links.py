"""Links and pictures of README, CONTRIBUTING and the pages under docs/ go to files and headings that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("README*.md")), ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LARGEST = 600_000  # bytes of a picture
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def prose(page: Path) -> str:
    """The page without what is code and not text."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def targets(page: Path):
    """(path, heading or "") of every link to a file of the repository; a link within the page has the page's path."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"\w+:", target):
            path, _, heading = target.partition("#")
            yield (page.parent / path if path else page), heading


def headings(page: Path) -> set[str]:
    """As GitHub names them in links."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@every_page
def test_links_go_to_what_is_there(page):
    missing = [str(path) for path, _ in targets(page) if not path.exists()]
    assert missing == []
    lost = [f"{path.name}#{heading}" for path, heading in targets(page) if heading and heading not in headings(path)]
    assert lost == []


def test_every_page_and_picture_is_linked():
    linked = {path.resolve() for page in PAGES for path, _ in targets(page)}
    files = {file for file in (ROOT / "docs").rglob("*") if file.is_file()}
    assert sorted(str(file.relative_to(ROOT)) for file in files - linked) == []


def test_pictures_are_small():
    pictures = [file for file in (ROOT / "docs" / "images").iterdir() if file.is_file()]
    assert pictures
    assert [file.name for file in pictures if file.stat().st_size > LARGEST] == []
