"""What was found is loaded: quantized or not, one model or two, with the offloading that was asked for."""

import shutil

import pytest
import torch
from distance import distance

from x2v_quant.demo import assets
from x2v_quant.lightx2v_config import find_models, offload_settings, scheme_choice
from x2v_quant.lightx2v_config.loading import load_models
from x2v_quant.linear import QuantLinear
from x2v_quant.loading.dit import load_dit
from x2v_quant.runtime.offload.state import offload_state

pytestmark = pytest.mark.usefixtures("inference")
T5, VISION = "models_t5_umt5-xxl-enc-", "models_clip_open-clip-xlm-roberta-large-vit-huge-14"
QUANTIZED = {"dit_quantized": True, "t5_quantized": True, "t5_quant_scheme": "int8", "clip_quantized": True}
LATENT = (1, 16, 2, 8, 8)


@pytest.fixture(scope="module")
def folder(demo_models, tmp_path_factory):
    """The demo's image to video model as LightX2V would lay it out, quantized and not, and two experts."""
    folder = tmp_path_factory.mktemp("Wan")
    int8, dense = assets.names("int8"), assets.names(assets.ORIGINAL)
    for place, kind, name in (
        ("int8/model.safetensors", "i2v", int8.i2v),
        ("original/model.safetensors", "i2v", dense.i2v),
        ("experts/high_noise_model/a.safetensors", "t2v", int8.t2v),
        ("experts/low_noise_model/a.safetensors", "t2v", dense.t2v),
        (f"{T5}int8.pth", "t5", int8.t5),
        (f"{T5}bf16.pth", "t5", dense.t5),
        (f"{VISION}-int8.pth", "clip", int8.clip),
        (f"{VISION}.pth", "clip", dense.clip),
    ):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo_models / assets.FOLDERS[kind] / name, folder / place)
    return folder


@pytest.fixture
def load(config, folder):
    """load(name below the folder, **keys) -> the four outputs."""
    from x2v_quant.lightx2v_config import SearchPaths

    def run(name="", **keys):
        asked = config(**keys)
        models = find_models(asked, SearchPaths(folder / name))
        return load_models(models, scheme_choice(asked)[0], offload_settings(asked))

    return run


def quantized_layers(module):
    return sum(m.kernel is not None for m in module.modules() if isinstance(m, QuantLinear))


def encoded(clip):
    return clip.encode_from_tokens(clip.tokenize("a red circle moving right"))


def seen(clip_vision):
    return clip_vision.encode_image(torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0)))


def test_quantized_and_not(load):
    dit, low, clip, vision = load(**QUANTIZED)
    dense_dit, _, dense_clip, dense_vision = load()
    assert dit is low
    for ours, dense in (
        (dit.model, dense_dit.model),
        (clip.cond_stage_model, dense_clip.cond_stage_model),
        (vision.model, dense_vision.model),
    ):
        assert quantized_layers(ours) > 10
        assert quantized_layers(dense) == 0
    assert 0 < distance(encoded(clip), encoded(dense_clip)) < 0.1
    difference = distance(seen(vision).penultimate_hidden_states, seen(dense_vision).penultimate_hidden_states)
    assert 0 < difference < 0.1


def test_two_experts(load):
    """One is quantized and the other is not: not as the configuration says, and loaded as what they are."""
    high, low, clip, vision = load("experts", high_noise_original_ckpt="high_noise_model/a.safetensors")
    assert quantized_layers(high.model) > 10
    assert quantized_layers(low.model) == 0
    assert high.get_wrappers("prepare_sampling", "x2v_idle_expert")
    assert clip is None
    assert vision is None


@pytest.mark.parametrize(("granularity", "mode"), [("phase", "phase"), ("model", "model")])
def test_the_model_is_offloaded_as_asked(load, granularity, mode):
    dit, _, clip, vision = load(**QUANTIZED, cpu_offload=True, offload_granularity=granularity, clip_cpu_offload=False)
    assert offload_state(dit).settings.mode == mode
    assert offload_state(clip.patcher).settings.mode == "model"
    assert offload_state(vision.patcher) is None


def test_auto_is_what_the_loader_gives(load, folder):
    dit = load(**QUANTIZED)[0]
    assert offload_state(dit) is None
    alone = load_dit(str(folder / "int8" / "model.safetensors"))
    assert type(dit) is type(alone)


def test_an_unquantized_model_can_be_made_anew(load):
    """Core does so for torch.compile and for a second GPU."""
    for patcher in (load()[0], load()[2].patcher, load()[3].patcher):
        loader, arguments = patcher.cached_patcher_init
        assert quantized_layers(loader(*arguments, disable_dynamic=True).model) == 0
