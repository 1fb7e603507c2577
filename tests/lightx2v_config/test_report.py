"""Everything that a configuration asks for comes out: loaded, for a node of core, not here, ignored or unknown."""

import re
from pathlib import Path

import pytest

from x2v_quant.lightx2v_config import find_models, offload_settings, report_lines, scheme_choice
from x2v_quant.lightx2v_config.settings import CORE, DEAD, SETTINGS, setting_of

# every key in LightX2V's own configurations for Wan and of its quantization and offload examples
SHIPPED = (Path(__file__).parent / "shipped_keys.txt").read_text().split()
DEAD_KEYS = [
    "offload_ratio",
    "max_memory",
    "offload_to_disk",
    "t5_offload_granularity",
    "rotary_chunk",
    "rotary_chunk_size",
]


@pytest.fixture
def report(config, paths, put):
    """report(**keys) -> the text, of a folder with one model."""
    put({"diffusion_models/Wan/fp8/model.safetensors": "fp8"})

    def write(**keys):
        asked = config(dit_quantized=True, **keys)
        choice, notes = scheme_choice(asked)
        models = find_models(asked, paths("Wan"))
        return "\n".join(report_lines(asked, models, choice, offload_settings(asked), notes))

    return write


def section(text, title):
    return text.partition(f"\n{title}:\n")[2].partition("\n\n")[0]


@pytest.mark.parametrize("key", SHIPPED)
def test_every_shipped_key_is_known(key):
    assert setting_of(key) is not None


@pytest.mark.parametrize("key", DEAD_KEYS)
def test_keys_that_lightx2v_reads_nowhere(key, report):
    assert setting_of(key).who == DEAD
    assert key in section(report(**{key: True}), "Ignored")


def test_no_key_is_in_two_rows():
    keys = [key for row in SETTINGS for key in row.keys]
    assert len(keys) == len(set(keys))
    assert all(setting_of(key) is row for row in SETTINGS for key in row.keys)


def test_every_node_that_is_named_is_cores(comfyui):
    sources = [comfyui / "nodes.py", *(comfyui / "comfy_extras").glob("nodes_*.py")]
    code = "\n".join(source.read_text(encoding="utf-8") for source in sources)
    named = {node for row in SETTINGS for node in row.nodes}
    assert len(named) > 20
    for node in named:
        assert re.search(rf'node_id="{node}"|"{node}": ', code), node
    for row in SETTINGS:
        assert all(node in row.says or row.who != CORE or "sampler" in row.says for node in row.nodes)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"denoising_step_list": [1000, 750, 500, 250], "sample_shift": 5},
            "Loaded: MODEL. Now set: ModelSamplingSD3: shift 5; KSampler: steps 4, sampler_name euler, scheduler "
            "simple, cfg 1; 1 more in the report.",
        ),
        ({"infer_steps": 40}, "Loaded: MODEL. Now set: KSampler: steps 40, cfg 1."),
    ],
)
def test_it_begins_with_what_is_loaded_and_what_to_set(report, keys, line):
    assert report(**keys).splitlines()[:4] == [line, "", "run.json", ""]


def test_what_is_loaded(report):
    text = report(dit_quant_scheme="fp8-sgl", cpu_offload=True, offload_granularity="phase")
    assert "- MODEL: model.safetensors (Wan 2.1 t2v, fp8-channel)" in section(text, "Loaded")
    assert "scheme: dit fp8-sgl, t5 auto, clip auto" in text
    assert "offload: phase, t5 model, clip model" in text
    assert "both MODEL outputs are the same" in section(text, "Note")


@pytest.mark.parametrize(
    ("keys", "node"),
    [
        ({"infer_steps": 40}, "KSampler: steps 40"),
        ({"sample_shift": 8}, "ModelSamplingSD3: shift 8"),
        ({"enable_cfg": True, "sample_guide_scale": 6}, "cfg 6"),
        (
            {"feature_caching": "Tea", "teacache_thresh": 0.26},
            'feature_caching = "Tea", teacache_thresh = 0.26: EasyCache',
        ),
        ({"use_tiling_vae": True}, "use_tiling_vae = true: VAEDecodeTiled"),
        ({"use_tae": True, "tae_path": "/x/taew2_1.pth"}, 'tae_path = "/x/taew2_1.pth": VAELoader'),
        ({"self_attn_1_type": "sage_attn2"}, "--use-sage-attention"),
        ({"lora_configs": [{"path": "a.safetensors", "strength": 1.0}]}, "LoraLoaderBypassModelOnly"),
        ({"target_height": 480, "target_width": 832}, "target_height = 480, target_width = 832: size and length"),
        ({"parallel": {"seq_p_size": 8}}, "MultiGPU_WorkUnits"),
    ],
)
def test_cores_nodes_come_with_the_value(report, keys, node):
    assert node in section(report(**keys), "Set in the graph")


def test_what_is_switched_off_is_left_out(report):
    text = report(use_tiling_vae=False, parallel=False, feature_caching="NoCaching", lora_configs=None)
    assert not any(key in text for key in ("use_tiling_vae", "parallel", "feature_caching", "lora_configs"))


def test_unknown_keys_come_with_the_nearest(report):
    unknown = section(report(offload_granularty="block", wibble=[1, 2]), "Unknown")
    assert '- offload_granularty = "block" (nearest that is known: offload_granularity)' in unknown
    assert "- wibble = [1, 2]" in unknown


def test_sparse_attention_is_not_passed_over(report):
    text = report(dynamic_sparse_attn_setting={"sparsity_ratio": 0.9})
    assert "sparse attention: full attention is computed" in section(text, "Not available here")


def test_long_values_are_cut(report):
    text = report(coefficients=[[0.5] * 1000])
    assert max(map(len, text.splitlines())) < 300
