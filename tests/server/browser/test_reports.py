"""Reports on their nodes, in both of the page's renderers: the first lines are seen, and no node grows by them."""

import re

import pytest
from older_comfyui import todays_page

from x2v_quant.demo import assets

pytestmark = pytest.mark.slow

VIDEO = "() => document.querySelector('video')?.videoWidth > 0"
# what is added to the demo: class -> its size, and {input: (class of the node before it, type of its output)}
ADDED = {
    "UNETLoader": ([300, 100], {}),
    "X2VSamplerPatch": ([340, 460], {"model": ("ModelSamplingSD3", "MODEL")}),
    "X2VStepReport": ([400, 380], {"steps": ("X2VSamplerPatch", "X2V_STEPS"), "after": ("KSampler", "LATENT")}),
    "X2VMemoryReport": ([440, 460], {"models.model0": ("X2VLoadDiT", "MODEL"), "after": ("KSampler", "LATENT")}),
    "X2VSaveModel": ([440, 220], {"model": ("X2VLoadDiT", "MODEL")}),
    "X2VCompare": (
        [480, 980],
        {
            "reference": ("UNETLoader", "MODEL"),
            "candidate": ("X2VLoadDiT", "MODEL"),
            "positive": ("Positive Prompt", "CONDITIONING"),
            "negative": ("Negative Prompt", "CONDITIONING"),
            "latent_image": ("EmptyHunyuanLatentVideo", "LATENT"),
            "vae": ("VAELoader", "VAE"),
        },
    ),
}
# of no other test: what comes from the cache shows no text
SCHEMES = ("int8-torch", "int8-dequant")
KERNEL_REPORT = [660, 340]  # of the demo's two models
FIRST_LINES = {
    "X2VKernelReport": r"DiT: int8, (fast here|saves memory only on .+)\. .+\.",
    "X2VSamplerPatch": r"2 steps, [\d.]+ s each, .+\.",
    "X2VStepReport": r"2 steps, [\d.]+ s each, .+\.",
    "X2VMemoryReport": r"(Fits|Full|RAM): [\d.]+ \wB of [\d.]+ GB .+\.",
    "X2VSaveModel": r"[\d.]+ MB saved: output/diffusion_models/x2v_\d+_\.safetensors",
    "X2VCompare": r"(Hardly visible|Visible in details|Clearly [^:]+): PSNR [\d.]+ dB, SSIM [\d.]+\.",
}
ADD = """([added, report]) => {
    const find = name => app.graph.nodes.find(node => node.title === name || node.type === name);
    find('X2VKernelReport').size = report;
    let x = 2000;
    for (const [type, [size, links]] of Object.entries(added)) {
        const node = LiteGraph.createNode(type);
        node.pos = [x, 0], node.size = size, x += size[0] + 60;
        app.graph.add(node);
        for (const [input, [source, kind]] of Object.entries(links)) {
            const from = find(source);
            from.connect(from.outputs.findIndex(output => output.type === kind), node,
                node.inputs.findIndex(({name}) => name === input));
        }
    }
    find('X2VSamplerPatch').connect(0, find('KSampler'), 0);
}"""
COMPARED = """() => app.graph.nodes.find(node => node.type === 'X2VCompare').widgets
    .some(widget => widget.name === '$$node-text-preview')"""
SIZES = "names => names.map(name => [...app.graph.nodes.find(node => node.type === name).size])"
# Nodes 2.0 draws its words in a box of their own; are they seen in every box around them?
SEEN = """words => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (texts.nextNode()) if (texts.currentNode.data.includes(words)) found.push(texts.currentNode);
    return found.some(text => {
        const range = document.createRange(), start = text.data.indexOf(words);
        range.setStart(text, start);
        range.setEnd(text, start + words.length);
        const seen = range.getBoundingClientRect();
        let inside = seen.height > 0;
        for (let box = text.parentElement; box; box = box.parentElement) {
            const frame = box.getBoundingClientRect();
            if (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(box).overflowY))
                inside &&= seen.top > frame.top - 2 && seen.bottom < frame.bottom + 2;
        }
        return inside;
    });
}"""


@pytest.mark.parametrize("nodes_2", [False, pytest.param(True, marks=todays_page)], ids=["canvas", "nodes-2"])
def test_first_lines_are_seen_and_nodes_keep_their_sizes(opened, nodes_2):
    with opened(**{"Comfy.VueNodes.Enabled": nodes_2}) as frontend:
        frontend.open_template("1 Try it, no download")
        page = frontend.page
        page.evaluate(ADD, [ADDED, KERNEL_REPORT])
        frontend.fill({"X2VScheme": {"dit": SCHEMES[nodes_2]}})
        noise = {"steps": 2, "seed": 1000 + nodes_2}
        frontend.fill({"KSampler": noise, "X2VCompare": {**noise, "cfg": 1.0}})
        frontend.fill({"UNETLoader": {"unet_name": assets.names(assets.ORIGINAL).t2v}})
        page.wait_for_timeout(1000)
        before = page.evaluate(SIZES, list(FIRST_LINES))
        frontend.run()
        page.wait_for_function(VIDEO)
        page.wait_for_function(COMPARED)
        page.wait_for_timeout(2000)
        frontend.screenshot(f"reports_{'nodes_2' if nodes_2 else 'canvas'}")
        for node, pattern in FIRST_LINES.items():
            line = frontend.value(node, "$$node-text-preview").splitlines()[0].rstrip()
            assert re.fullmatch(pattern, line), node
            frontend.center(node)
            assert page.evaluate(SEEN, line), node
        after = page.evaluate(SIZES, list(FIRST_LINES))
        grown = {node: (old, new) for node, old, new in zip(FIRST_LINES, before, after, strict=True) if new[1] > old[1]}
        assert grown == {}
