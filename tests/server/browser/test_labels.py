"""What inputs are called on the nodes, however they are drawn and in both languages; saved graphs go by the id."""

import pytest
from write_locales import read

pytestmark = pytest.mark.slow

NODES = sorted(read("en"))
OLD = "W-int8-channel-sym-A-int8-channel-sym-dynamic-Vllm"
PLACE = """names => {
    app.graph.clear();
    names.forEach((name, number) => {
        const node = LiteGraph.createNode(name);
        node.pos = [(number % 6) * 480, Math.floor(number / 6) * 480];
        app.graph.add(node);
    });
}"""
# [input, label, is it drawn without a click] of every node
DRAWN = """() => Object.fromEntries(app.graph.nodes.map(node => [node.type, [
    ...(node.widgets ?? []).map(widget => [widget.name, widget.label, !widget.options?.advanced && !widget.hidden]),
    ...node.inputs.filter(input => !input.widget).map(row => [row.name, row.label || row.localized_name, true]),
]]))"""
CORES = {"control_after_generate", "upload"}  # widgets that the frontend adds
# saved, and opened from what was saved
AGAIN = """async ([name, widget, value]) => {
    app.graph.nodes.find(node => node.type === name).widgets.find(found => found.name === widget).value = value;
    const saved = app.graph.serialize();
    await app.loadGraphData(saved);
    return saved;
}"""
every_renderer = pytest.mark.parametrize("nodes_2", [False, True], ids=["canvas", "nodes-2"])
every_language = pytest.mark.parametrize("language", ["en", "zh"])


def titled(page, title):
    return page.locator("[data-node-id]", has=page.get_by_test_id("node-title").get_by_text(title, exact=True))


def placed(frontend):
    frontend.page.evaluate(PLACE, list(NODES))
    frontend.fit()


@every_language
@every_renderer
def test_labels_are_those_of_the_language(opened, nodes_2, language):
    words = read(language)
    with opened(**{"Comfy.Locale": language, "Comfy.VueNodes.Enabled": nodes_2}) as frontend:
        placed(frontend)
        frontend.screenshot(f"labels_{language}_{nodes_2}")
        for node, drawn in frontend.page.evaluate(DRAWN).items():
            inputs = words[node]["inputs"]
            labels = {name: (label, shown) for name, label, shown in drawn if name in inputs}
            assert {name.partition(".")[0] for name, *_ in drawn} - CORES == inputs.keys()
            assert {name: label for name, (label, _) in labels.items()} == {
                name: inputs[name]["name"] for name in labels
            }
            if nodes_2:
                text = titled(frontend.page, words[node]["display_name"]).inner_text()
                assert [label for label, shown in labels.values() if shown and label not in text] == [], node


@every_renderer
def test_a_scheme_that_the_list_lacks_stays_in_a_saved_graph(opened, nodes_2):
    with opened(**{"Comfy.VueNodes.Enabled": nodes_2}) as frontend:
        placed(frontend)
        saved = frontend.page.evaluate(AGAIN, ["X2VScheme", "dit", OLD])
        frontend.fit()
        frontend.screenshot(f"old_scheme_{nodes_2}")
        assert frontend.value("X2VScheme", "dit") == OLD
        prompt = frontend.page.evaluate("async () => (await app.graphToPrompt()).output")
        (scheme,) = (entry["inputs"] for entry in prompt.values() if entry["class_type"] == "X2VScheme")
        assert scheme == {
            **dict.fromkeys(("t5", "clip", "compute_dtype"), "auto"),
            **{"dit": OLD, "strict": False, "transcode": False},
        }
        # a label would be shown in every language; core itself gives the inputs of a growing list one
        assert [
            row for node in saved["nodes"] for row in node["inputs"] if row.get("label") and "." not in row["name"]
        ] == []
