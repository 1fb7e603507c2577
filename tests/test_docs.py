"""The node help, in the places where the frontend looks for it: a page for each node, in English and in Chinese."""

import re
from pathlib import Path

import pytest
from PIL import Image
from write_locales import node_infos, read

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "web" / "docs"
# language -> a node's page; any other language gets the English one
PAGES = {"en": "{}.md", "zh": "{}/zh.md"}
# in italics too: what a widget or a text shows, an input, a template
NOT_NODES = {"stop", "next best", "identical", "layers"}
NOT_NODES |= {path.stem for path in (ROOT / "workflows").glob("*.json")}
OF_CORES_EXTRAS = {
    *("ModelSamplingSD3", "LoraLoaderBypass", "LoraLoaderBypassModelOnly", "Preview as Text"),
    *("SamplerCustom", "SamplerCustomAdvanced"),
}
PICTURE = "{}/node.jpg"
every_language = pytest.mark.parametrize("language", PAGES)


@pytest.fixture(scope="module")
def infos():
    return node_infos()


def page(node, language):
    return DOCS.joinpath(PAGES[language].format(node)).read_text(encoding="utf-8")


def test_a_page_for_each_node_and_no_other(infos):
    found = {file.relative_to(DOCS).as_posix() for file in DOCS.rglob("*") if file.is_file()}
    assert found == {place.format(node) for node in infos for place in (*PAGES.values(), PICTURE)}


@every_language
def test_a_page_shows_its_node(infos, language):
    """python dev.py exec python tests/node_pictures.py makes them; the frontend looks for them below docs."""
    for node in infos:
        assert f"]({PICTURE.format(node)})" in page(node, language), node
        with Image.open(DOCS / PICTURE.format(node)) as picture:
            assert 400 <= picture.width <= 800, node


@every_language
def test_a_page_begins_with_the_name_that_the_node_has(infos, language):
    names = read(language)
    for node in infos:
        assert page(node, language).splitlines()[0] == f"# {names[node]['display_name']}"


@every_language
def test_a_page_explains_every_input(infos, language):
    for node, info in infos.items():
        words = set(re.findall(r"\w+", page(node, language)))
        inputs = {name for group in ("required", "optional") for name in info["input"].get(group, {})}
        assert sorted(inputs - words) == [], node


@every_language
def test_a_page_names_nodes_as_they_are_called(infos, language):
    """Names of ours and of core's stand in italics; core's are its classes, or what it displays in English."""
    from nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

    names = {words["display_name"] for words in read(language).values()}
    # a name may be given without what it says in brackets
    known = names | {re.split("[(\uff08]", name)[0].strip() for name in names} | NOT_NODES
    known |= {*NODE_CLASS_MAPPINGS, *NODE_DISPLAY_NAME_MAPPINGS.values(), *OF_CORES_EXTRAS}
    for node in infos:
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", page(node, language), flags=re.DOTALL)
        named = set(re.findall(r"(?<!\*)\*([^*|\n]+)\*(?!\*)", prose))
        assert sorted(named - known) == [], node


@every_language
def test_tables_have_the_same_number_of_cells_in_every_row(infos, language):
    for node in infos:
        for table in re.findall(r"(?:^\|.*\|\n?)+", page(node, language), re.MULTILINE):
            cells = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
            assert len(cells) == 1, (node, table)


def test_both_languages_have_the_same_tables_and_code(infos):
    """What is not prose is not translated: names in code font of the English page are in the Chinese one."""
    for node in infos:
        english, chinese = page(node, "en"), page(node, "zh")
        assert english.count("\n| ") == chinese.count("\n| "), node
        missing = set(re.findall(r"`([^`\n]+)`", english)) - set(re.findall(r"`([^`\n]+)`", chinese))
        assert missing == set(), node


def in_chinese() -> list[Path]:
    return sorted([*DOCS.glob("*/zh.md"), *(ROOT / "docs").glob("*.zh.md"), ROOT / "README.zh.md"])


@pytest.mark.parametrize("file", in_chinese(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_bold_and_italics_end_where_they_should(file):
    """Markdown does not end them between a punctuation mark inside and a letter outside."""
    prose = re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    prose = re.sub(r"`[^`\n]*`", "``", prose).replace("\\*", "")
    spans = re.finditer(r"(?<!\*)(\*{1,2})(?!\*)([^*\n]+)\1(?!\*)(\w?)", prose)
    assert [span[0] for span in spans if span[3] and not re.match(r"\w", span[2][-1])] == []


def in_both_languages() -> list[Path]:
    """README and the pages under docs/ that have a Chinese one beside them."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [file for file in files if file.with_suffix(".zh.md").exists()]


def outline(file: Path) -> dict[str, list[str]]:
    """What is not translated: levels of headings, code, and the cells in which a program's words stand."""
    text = file.read_text(encoding="utf-8")
    prose = re.sub(r"<!-- (\w+):begin -->.*?<!-- \1:end -->", "", text, flags=re.DOTALL)
    cells = re.findall(r"^\| (`[^|]*) \|", prose, re.MULTILINE)
    return {
        "headings": re.findall(r"^(#+) ", text, re.MULTILINE),
        "code": re.findall(r"```.*?```", text, re.DOTALL),
        "rows": re.findall(r"^\|(?:[^|\n]*(\|))+$", prose, re.MULTILINE),
        "messages, commands and options": [cell.replace("`\u3001`", "`, `") for cell in cells],
    }


@pytest.mark.parametrize("file", in_both_languages(), ids=lambda file: file.stem)
def test_a_page_is_built_alike_in_both_languages(file):
    assert outline(file.with_suffix(".zh.md")) == outline(file)
