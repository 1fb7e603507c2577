"""Load Quantized DiT on LightX2V's files of other families, under its names: layers apart that ComfyUI has in one."""

import contextlib

import pytest
import torch
from distance import distance
from family_files import FAMILIES, core_model, lightx2vs, metadata_of, run, tensors_of, write, write_empty
from older_comfyui import core_knows_minimax_h3, core_knows_seedvr2, in_core
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.checkpoints import CheckpointError
from x2v_quant.loading.dit import load_dit
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
EXACT = SchemeChoice(dit="dequant", compute_dtype="fp32")
# activations quantized too, on every machine; `auto` quantizes them where the CPU has VNNI
QUANTIZING = SchemeChoice(dit="reference", compute_dtype="fp32")
# relative error of one step against the model before it was quantized; measured: 0.6 to 3.8 %, 2.0 to 9.3 %
LIMIT = {"int8": 0.045, "fp8": 0.11, "fp8-tensor": 0.11}
# LightX2V has LTX-2 with one scale for each weight
CASES = [*((name, kind) for name in FAMILIES for kind in ("int8", "fp8")), ("ltx-2", "fp8-tensor")]
# families whose sizes core does not read off the file, and takes to be a real model's
FULL_SIZE = {
    "qwen-image": {"num_layers": 1, "num_attention_heads": 24, "joint_attention_dim": 3584},
    "z-image": {
        "dim": 3840,
        "n_layers": 1,
        "n_heads": 30,
        "n_kv_heads": 30,
        "ffn_dim_multiplier": 8 / 3,
    },
}


@pytest.fixture
def load_core(told):
    """load_core(name, tensors) -> core's own MODEL of tensors under ComfyUI's names."""
    import comfy.sd

    def load(name, tensors):
        options = {"dtype": torch.float32}
        return comfy.sd.load_diffusion_model_state_dict(dict(tensors), options, metadata=metadata_of(name))

    return load


def dequantized(weight, kind):
    stored = KINDS[kind](weight)
    return stored["weight"].float() * stored["weight_scale"].float()


@pytest.fixture
def written(tmp_path):
    """written(name, kind="int8", change=None) -> path of a file, whose tensors `change` may have changed."""

    def make(name, kind="int8", change=None):
        path = tmp_path / f"{kind}.safetensors"
        write(path, name, kind, tensors_of(name))
        if change is not None:
            tensors = {key: tensor.clone() for key, tensor in load_file(path).items()}
            change(tensors)
            save_file(tensors, path, metadata_of(name))
        return str(path)

    return make


@pytest.mark.parametrize("name,kind", in_core(CASES))
def test_a_step_is_that_of_the_dequantized_model(name, kind, tmp_path, told, load_core):
    told(name)
    tensors = tensors_of(name)
    path = tmp_path / "model.safetensors"
    layers = {f"{layer}.weight" for layer in write(path, name, kind, tensors)}
    quantized = {
        key for key in tensors if key.endswith(".weight") and lightx2vs(name, {key: tensors[key]}).keys() <= layers
    }
    exact = {key: dequantized(tensor, kind) if key in quantized else tensor for key, tensor in tensors.items()}
    model = load_dit(str(path), EXACT)
    assert {f"{layer}.weight" for layer in model.model.x2v_plan.layers} == quantized
    for key, tensor in exact.items():
        held = getattr(model.model.diffusion_model.get_submodule(key.rpartition(".")[0]), key.rpartition(".")[2])
        assert torch.equal((held.dequantize() if key in quantized else held).float(), tensor), key
    assert distance(run(name, model), run(name, load_core(name, exact))) < 1e-4
    quantizing = load_dit(str(path), QUANTIZING)
    assert 1e-4 < distance(run(name, quantizing), run(name, load_core(name, tensors))) < LIMIT[kind]


def _swap(first, second):
    def change(tensors):
        for end in ("weight", "weight_scale"):
            one, other = (f"{name}.{end}" for name in (first, second))
            tensors[one], tensors[other] = tensors[other], tensors[one]

    return change


@pytest.mark.parametrize(
    "name,first,second",
    [
        ("flux", "transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_v"),
        ("flux", "single_transformer_blocks.1.attn.to_k", "single_transformer_blocks.1.attn.to_v"),
        ("z-image", "layers.0.attention.to_q", "layers.0.attention.to_v"),
        ("hunyuan 1.5", "double_blocks.0.txt_attn_k", "double_blocks.0.txt_attn_v"),
        pytest.param(
            *("minimax-h3", "transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_v"),
            marks=core_knows_minimax_h3,
        ),
    ],
)
def test_the_order_of_the_pieces_would_be_seen(name, first, second, written, told):
    """The comparison above is not blind."""
    told(name)
    right = run(name, load_dit(written(name), EXACT))
    wrong = run(name, load_dit(written(name, change=_swap(first, second)), EXACT))
    assert distance(wrong, right) > 0.01


def test_the_first_block_of_ltx_2_stays_as_it_is(written):
    layers = load_dit(written("ltx-2", "fp8-tensor")).model.x2v_plan.layers
    assert not [layer for layer in layers if layer.startswith("transformer_blocks.0.")]
    assert len([layer for layer in layers if layer.startswith("transformer_blocks.1.")]) == len(layers) == 28


@core_knows_seedvr2
@pytest.mark.parametrize("layers,width,heads,mlp", [(32, 2560, 20, "swiglu"), (36, 3072, 24, "normal")])
def test_core_tells_seedvr2_by_the_names_of_its_files(layers, width, heads, mlp):
    """And by what lies beside them."""
    import comfy.model_detection

    sizes = {"num_layers": layers, "mm_layers": 10 if mlp == "swiglu" else layers, "vid_dim": width}
    model = core_model("seedvr2", {**sizes, "heads": heads, "mlp_type": mlp, "vid_out_norm": mlp == "swiglu" or None})
    tensors = lightx2vs("seedvr2", model.state_dict())
    assert comfy.model_detection.model_config_from_unet(tensors, "") is None
    beside = {name: torch.empty(0) for name in FAMILIES["seedvr2"].companions}
    found = comfy.model_detection.model_config_from_unet({**tensors, **beside}, "")
    assert type(found).__name__ == "SeedVR2"
    assert sizes.items() <= {"mm_layers": 10, **found.unet_config}.items()


@core_knows_seedvr2
def test_frequencies_that_seedvr2_computes_need_not_be_there(written, told):
    """LightX2V leaves them out when it reads its authors' file."""
    told("seedvr2")

    def drop(tensors):
        for key in [key for key in tensors if key.endswith("rope.freqs")]:
            del tensors[key]

    rope = load_dit(written("seedvr2", change=drop)).model.diffusion_model.blocks[0].attn.rope.rope
    assert torch.equal(rope.freqs, 1 / 10000 ** (torch.arange(0, 42, 2) / 42))


@pytest.mark.parametrize("name", in_core(FAMILIES))
def test_a_key_that_nobody_takes_is_refused(name, written, told):
    told(name)
    key = f"{FAMILIES[name].prefix}transformer_blocks.0.mystery.weight"
    path = written(name, change=lambda tensors: tensors.update({key: torch.zeros(4)}))
    with pytest.raises(CheckpointError, match=r"transformer_blocks\.0\.mystery\S* has no place"):
        load_dit(path)


@pytest.mark.parametrize("name", ["flux", "z-image", "hunyuan 1.5"])
def test_a_piece_that_is_missing_is_named(name, written, told):
    told(name)

    def drop(tensors):
        key = next(key for key in sorted(tensors) if key.endswith(("to_k.weight", "attn_k.weight")))
        for end in ("", "_scale"):
            del tensors[f"{key}{end}"]

    with pytest.raises(CheckpointError, match=r"is made of [34] tensors, of which only .*(to|attn)_q.* are there"):
        load_dit(written(name, change=drop))


def _as_published(tensors):
    """The norms of queries and keys as Flux's authors call them."""
    for key in [key for key in tensors if key.endswith(("query_norm.weight", "key_norm.weight"))]:
        tensors[f"{key.removesuffix('weight')}scale"] = tensors.pop(key)


@pytest.mark.parametrize("published", [False, True], ids=["comfyui", "authors"])
def test_flux_under_other_names(published, tmp_path, load_core):
    tensors = tensors_of("flux")
    layers = [key for key in tensors if key.startswith(("double_", "single_")) and tensors[key].ndim == 2]
    stored = {key: tensor for key, tensor in tensors.items() if key not in layers}
    for key in layers:
        stored |= {f"{key.removesuffix('weight')}{end}": part for end, part in KINDS["int8"](tensors[key]).items()}
    if published:
        _as_published(stored)
    save_file(stored, tmp_path / "flux.safetensors")
    exact = {key: dequantized(tensor, "int8") if key in layers else tensor for key, tensor in tensors.items()}
    model = load_dit(str(tmp_path / "flux.safetensors"), EXACT)
    assert distance(run("flux", model), run("flux", load_core("flux", exact))) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_SIZE)
def test_core_recognises_a_file_of_full_width(name, tmp_path):
    """Codes that are all zero, which take no time: it is about names and shapes."""
    path = tmp_path / "model.safetensors"
    layers = write_empty(path, name, FULL_SIZE[name])
    model = load_dit(str(path))
    assert type(model.model.model_config).__name__ == {"qwen-image": "QwenImage", "z-image": "ZImage"}[name]
    assert len(layers) >= len(model.model.x2v_plan.layers) > 10
    with contextlib.suppress(PermissionError):  # Windows keeps what is mapped
        path.unlink()
