"""What inputs are called on the nodes, however they are drawn and in both languages; saved graphs go by the id."""

import pytest
from write_locales import read

pytestmark = pytest.mark.slow

NODES = ("X2VScheme", "X2VLoadDiT", "X2VLoadExperts", "X2VLoadLoRA", "X2VOffloadControl", "X2VDistilledSigmas")
OLD = "W-int8-channel-sym-A-int8-channel-sym-dynamic-Vllm"
PLACE = """names => {
    app.graph.clear();
    names.forEach((name, number) => {
        const node = LiteGraph.createNode(name);
        node.pos = [(number % 3) * 480, Math.floor(number / 3) * 420];
        app.graph.add(node);
    });
}"""
DRAWN = """() => Object.fromEntries(app.graph.nodes.map(node => [node.type, [
    ...node.widgets.map(widget => [widget.name, widget.label]),
    ...node.inputs.filter(input => !input.widget).map(input => [input.name, input.label || input.localized_name]),
]]))"""
# saved, and opened from what was saved
AGAIN = """async ([name, widget, value]) => {
    app.graph.nodes.find(node => node.type === name).widgets.find(found => found.name === widget).value = value;
    const saved = app.graph.serialize();
    await app.loadGraphData(saved);
    return saved;
}"""
every_renderer = pytest.mark.parametrize("nodes_2", [False, True], ids=["canvas", "nodes-2"])
every_language = pytest.mark.parametrize("language", ["en", "zh"])


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
        for node, labels in frontend.page.evaluate(DRAWN).items():
            assert dict(labels) == {name: words[node]["inputs"][name]["name"] for name, _ in labels}
            if nodes_2:
                text = frontend.page.locator("[data-node-id]", has_text=words[node]["display_name"]).first.inner_text()
                assert [label for name, label in labels if name != "expert" and label not in text] == []


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
        # a label would be shown in every language
        assert [row for node in saved["nodes"] for row in node["inputs"] if row.get("label")] == []
