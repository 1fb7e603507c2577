"""Every node is told in every language, in the form that the frontend reads, and nothing else is."""

import json

import pytest
from write_locales import ENGLISH, LOCALES, WIDGETS, english, node_infos, read

CHINESE = "zh"
# of vue-i18n, which reads every text: interpolation, links to other texts and plurals
SPECIAL = set("{}@|")


@pytest.fixture(scope="module")
def infos():
    return node_infos()


def leaves(words, path=()):
    if isinstance(words, dict):
        for key, value in words.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, words


def test_there_are_these_languages():
    assert sorted(folder.name for folder in LOCALES.iterdir()) == sorted((ENGLISH, CHINESE))


def test_english_is_what_the_nodes_say(infos):
    """Else: python dev.py exec python tests/write_locales.py"""
    assert read(ENGLISH) == {node: english(info) for node, info in infos.items()}


def test_chinese_has_every_text_and_no_other(infos):
    wanted = {path for node, info in infos.items() for path, _ in leaves(english(info), (node,))}
    assert {path for path, _ in leaves(read(CHINESE))} == wanted


def test_chinese_is_chinese():
    """Names may be proper names; a sentence has a Chinese character."""
    for path, text in leaves(read(CHINESE)):
        if path[-1] != "name":
            assert any("\u4e00" <= character <= "\u9fff" for character in text), path


@pytest.mark.parametrize("language", [ENGLISH, CHINESE])
def test_no_text_is_a_message_format(language):
    assert [(path, text) for path, text in leaves(read(language)) if SPECIAL & set(text)] == []


def test_the_words_of_a_choice_are_those_of_the_widget(infos):
    """A tooltip that tells a combo's choices names them as the widget shows them, in Chinese too."""
    chinese = read(CHINESE)
    for node, info in infos.items():
        for group in ("required", "optional"):
            for name, spec in info["input"].get(group, {}).items():
                tooltip = spec[1].get("tooltip") or ""
                for choice in spec[1].get("options") or ():
                    if f"'{choice}'" in tooltip or f"{choice}: " in tooltip:
                        assert choice in chinese[node]["inputs"][name]["tooltip"], (node, name, choice)


def test_only_widgets_have_labels_in_the_schema(infos):
    """The frontend shows the label of an input without a widget in place of its translation."""
    for node, info in infos.items():
        for group in ("required", "optional"):
            specs = info["input"].get(group, {})
            labelled = {name: spec[0] for name, spec in specs.items() if "display_name" in spec[1]}
            assert [name for name, kind in labelled.items() if kind not in WIDGETS] == [], node


def test_every_node_has_a_description_tooltips_and_words_to_find_it_by(infos):
    for node, info in infos.items():
        words = english(info)
        assert words["description"], node
        assert [name for name, said in words["inputs"].items() if "tooltip" not in said] == [], node
        assert len(info["search_aliases"]) >= 3, node


def test_the_files_are_as_they_are_written(infos):
    for language in (ENGLISH, CHINESE):
        text = (LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8")
        assert text == json.dumps(json.loads(text), indent=4, ensure_ascii=False) + "\n"
