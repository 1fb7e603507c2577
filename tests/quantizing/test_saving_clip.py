"""A text encoder saved in each dialect loads as the one that it was, in our loader and in ComfyUI's own."""

import comfy.sd
import comfy.sd1_clip
import comfy.text_encoders.flux
import pytest
import torch
from distance import distance
from name_tables import targets_of
from older_comfyui import read_by_core
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks import encoders
from x2v_quant.checkpoints.encodings import COMFYUI, DIALECTS, LIGHTX2V, X2V
from x2v_quant.converting.dialects import choices, writable
from x2v_quant.formats import FORMATS
from x2v_quant.loading.sizes import t5_sizes
from x2v_quant.loading.t5 import load_t5
from x2v_quant.quantizing import QuantizeError, quantize_clip, select_in_clip
from x2v_quant.quantizing.left_out import left_out_of_clip
from x2v_quant.quantizing.saving import save_clip
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
FP32 = SchemeChoice(compute_dtype="fp32")
# core's own loader multiplies text encoders in full precision
AS_CORE = SchemeChoice(t5="dequant", compute_dtype="fp32")
PLAIN = [name for name, row in FORMATS.items() if row.family == name]
CASES = [(dialect, name) for dialect in DIALECTS for name in PLAIN if name in writable(dialect)]
# of so few channels it is mxfp8 to the byte; tests/converting/test_round_trip.py has wider layers
CASES.remove((LIGHTX2V, "mxfp6"))
# LightX2V's dialect has an input scale of 1 where there is none, and of nvfp4 1 / scale
NOT_THE_VERY_SAME = {(LIGHTX2V, "fp8-tensor"): 0.03, (LIGHTX2V, "nvfp4"): 1e-5}
# by these core knows a T5 XXL
BLOCKS, FFN = 24, 10240
WIDTH = 32
PROMPT = "a large red fox runs over the sea"
TOKENS = 48  # of the 512 that core pads a prompt to
LORA_ON = "umt5xxl.transformer.encoder.block.1.layer.0.SelfAttention.v.weight"
SMALL_T5 = {"vocab_size": 32128, "d_model": 64, "num_heads": 4, "d_kv": 16, "d_ff": 160, "num_layers": 2}
SMALL_CLIP = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 2}
SMALL = {"dtype": torch.float32, "t5xxl_model_config": SMALL_T5, "clip_l_model_config": SMALL_CLIP}


def encode(clip):
    tokens = clip.tokenize(PROMPT)
    return clip.encode_from_tokens({name: [row[:TOKENS] for row in rows] for name, rows in tokens.items()})


def quantized(clip, format_name="int8-channel"):
    return quantize_clip(clip, select_in_clip(clip, format_name, "", FP32), FP32)


@pytest.fixture(scope="module")
def wans(tmp_path_factory):
    """A umt5 as deep and wide inside as the real one, which is how core knows it, under Wan's own names."""
    folder = tmp_path_factory.mktemp("umt5")
    spiece = encoders.spiece_model(1)
    dense = encoders.umt5(1, encoders.pieces(spiece), WIDTH, FFN, BLOCKS)
    path = folder / "wans.safetensors"
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in dense.items()}, path)
    (folder / "spiece.model").write_bytes(spiece)
    return path


@pytest.fixture(scope="module")
def core(wans, tmp_path_factory):
    """core(path) -> the CLIP that Load CLIP gives, of a file with the sizes of `wans`; its own is at core.path."""
    tensors = {targets_of("umt5 encoder", name)[0].name: tensor for name, tensor in load_file(wans).items()}
    config = t5_sizes(tensors, "")
    spiece = (wans.parent / "spiece.model").read_bytes()
    path = tmp_path_factory.mktemp("core") / "umt5.safetensors"
    save_file({**tensors, "spiece_model": torch.frombuffer(bytearray(spiece), dtype=torch.uint8)}, path)

    def load(file=path):
        options = {"umt5xxl_model_config": config}
        return comfy.sd.load_clip([str(file)], clip_type=comfy.sd.CLIPType.WAN, model_options=options)

    return load


@pytest.fixture(scope="module")
def dense(core):
    with torch.inference_mode():
        return core()


@pytest.fixture
def small(demo_models):
    """The demo's trained umt5, int8 already, whose sizes every format can hold."""
    from x2v_quant.demo import assets

    return load_t5(str(demo_models / "text_encoders" / assets.names("int8").t5), FP32)


@pytest.fixture
def saved(tmp_path):
    """saved(clip, dialect) -> the file, with the tokenizer beside it if the dialect has no place for one."""

    def save(clip, dialect):
        path = tmp_path / f"{dialect}.safetensors"
        assert save_clip(clip, path, dialect) == path.stat().st_size
        if dialect == LIGHTX2V:
            spiece = bytes(clip.tokenizer.state_dict()["spiece_model"].tolist())
            (tmp_path / "spiece.model").write_bytes(spiece)
        return path

    return save


@pytest.mark.parametrize("dialect,format_name", [case for case in CASES if case[0] != COMFYUI])
def test_what_is_saved_is_what_was_quantized(dialect, format_name, small, saved):
    clip = quantized(small, format_name)
    loaded = load_t5(str(saved(clip, dialect)), FP32)
    allowed = NOT_THE_VERY_SAME.get((dialect, format_name), 0)
    assert distance(encode(loaded), encode(clip)) <= allowed
    assert format_name in {entry.choice.format for entry in loaded.cond_stage_model.x2v_plan.layers.values()}


@pytest.mark.parametrize("format_name", read_by_core(choices(COMFYUI)))
def test_comfyuis_dialect_is_for_load_clip(format_name, core, dense, saved):
    clip = quantized(dense, format_name)
    path = saved(clip, COMFYUI)
    cores, ours = encode(core(path)), encode(load_t5(str(path), AS_CORE))
    plain = encode(dense)
    print(f"{format_name}: ours from core's {distance(ours, cores):.2e}, core's from {distance(cores, plain):.4f}")
    assert distance(ours, cores) <= 1e-3
    assert 1e-3 < distance(cores, plain) < 0.5


def test_lightx2vs_dialect_has_wans_own_names(wans, dense, saved):
    """Of an encoder that is not quantized: every tensor is back under the name that it had."""
    before, after = load_file(wans), load_file(saved(dense, LIGHTX2V))
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("dialect", [LIGHTX2V, X2V])
def test_a_lora_is_in_the_file(dialect, small, saved):
    generator = torch.Generator().manual_seed(2)
    width = small.cond_stage_model.umt5xxl.transformer.shared.weight.shape[1]
    patched = small.clone()
    patched.add_patches({LORA_ON: ("diff", (torch.randn((width, width), generator=generator) * width**-0.5,))}, 1.0)
    expected = encode(patched)
    loaded = load_t5(str(saved(patched, dialect)), FP32)
    assert distance(encode(loaded), expected) < 0.02 < 0.1 < distance(encode(small), expected)


def test_a_lora_beside_the_weights_is_in_the_file_and_in_what_is_quantized(small, saved):
    generator = torch.Generator().manual_seed(2)
    width = small.cond_stage_model.umt5xxl.transformer.shared.weight.shape[1]
    layer = f"text_encoders.{LORA_ON.removesuffix('.weight')}"
    lora = {f"{layer}.lora_{part}.weight": torch.randn((width, width), generator=generator) for part in "AB"}
    _, patched = comfy.sd.load_bypass_lora_for_models(None, small, lora, 0, 1 / width)
    expected = encode(patched)
    for made in (load_t5(str(saved(patched, X2V)), FP32), quantized(patched)):
        assert distance(encode(made), expected) < 0.02 < 0.1 < distance(encode(small), expected)
    assert torch.equal(encode(patched), expected)
    assert left_out_of_clip(patched) == []
    patched.clip_layer(-2)
    assert left_out_of_clip(patched) == ["the last layer (CLIP Set Last Layer)"]


def test_the_text_encoder_goes_on_as_it_was(small, saved):
    before = encode(small)
    saved(small, X2V)
    assert torch.equal(encode(small), before)


def test_several_encoders_are_refused(tmp_path):
    class Target:
        clip = comfy.text_encoders.flux.flux_clip()
        tokenizer = comfy.text_encoders.flux.FluxTokenizer
        params = {}  # noqa: RUF012 - core's CLIP reads it as an attribute and copies it

    with pytest.raises(QuantizeError, match=r"2 text encoders \(clip_l, t5xxl\), but a file can have only one"):
        save_clip(comfy.sd.CLIP(Target, model_options=SMALL), tmp_path / "clip.safetensors", COMFYUI)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "dialect,words",
    [(COMFYUI, "ComfyUI reads no quantized clip_l"), (X2V, "clip_l is no umt5"), (LIGHTX2V, "clip_l is no umt5")],
)
def test_what_no_loader_reads_is_refused(dialect, words, tmp_path):
    class Target:
        clip = comfy.sd1_clip.SD1ClipModel
        tokenizer = comfy.sd1_clip.SD1Tokenizer
        params = {}  # noqa: RUF012 - core's CLIP reads it as an attribute and copies it

    clip = comfy.sd.CLIP(Target, model_options=SMALL)
    for parameter in clip.cond_stage_model.parameters():
        parameter.data.normal_(std=0.1)
    with pytest.raises(QuantizeError, match=words):
        save_clip(quantized(clip), tmp_path / "clip.safetensors", dialect)
    assert not list(tmp_path.iterdir())
