"""Smoothed files in core's Wan: sampled, patched with a LoRA, saved, converted; and LightCompress' affine_norms against
what LightX2V computes with them."""

import pytest
import safetensors
import safetensors.torch
import torch
from comfy_kitchen.tensor import QuantizedTensor
from distance import distance

from x2v_quant.core.features import rotates_int8
from x2v_quant.formats import FORMATS, SMOOTHED
from x2v_quant.loading.dit import load_dit
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
# distance of the latents from the unquantized model's
LIMITS = {"int8-channel-smooth": 0.03, "fp8-channel-smooth": 0.08, "int4-g128-smooth": 0.5}
LIMITS |= {"int8-convrot-smooth": 0.03, "int8-convrot-64-smooth": 0.03} if rotates_int8() else {}
# schemes of the formats without smoothing
SCHEMES = {
    "int8-channel": "int8-vllm",
    "fp8-channel": "fp8-sgl",
    "int4-g128": "int4-g128-marlin",
    "int8-convrot": "int8-convrot",
}
every_format = pytest.mark.parametrize("name", LIMITS)


def layers(model):
    named = model.model.diffusion_model.named_modules()
    return {n: m for n, m in named if isinstance(getattr(m, "weight", None), QuantizedTensor)}


@every_format
@pytest.mark.parametrize("scheme", ["auto", "reference", "dequant", "own"])
def test_it_samples_like_the_unquantized_model(name, scheme, wan_files, load_dense, sample):
    """Under a scheme of the format without smoothing too: the user need not know."""
    dense, path = wan_files[name]
    own = SCHEMES[FORMATS[name].family]
    model = load_dit(path, SchemeChoice(dit=own if scheme == "own" else scheme))
    assert {m.weight._layout_cls for m in layers(model).values()} == {FORMATS[name].layout_name}
    expected = sample(load_dense(dense))
    assert distance(sample(model), expected) < LIMITS[name]
    if scheme == "own":
        assert own in model.model.x2v_plan.fallback()


# 4 bits that are rounded once more are as far off as the LoRA takes them
@pytest.mark.parametrize("name", [name for name in LIMITS if "int4" not in name])
def test_a_lora_leaves_the_factors_as_they_are(name, wan_files, load_dense, sample, lora):
    import comfy.sd

    dense, path = wan_files[name]
    model = load_dit(path)
    before = sample(model)
    factors = {n: m.weight._params.pre_quant_scale.clone() for n, m in layers(model).items()}
    patched = comfy.sd.load_lora_for_models(model, None, lora(), 1.0, 0)[0]
    after = sample(patched)
    wanted = sample(comfy.sd.load_lora_for_models(load_dense(dense), None, lora(), 1.0, 0)[0])
    assert distance(after, wanted) < 0.25 * distance(before, wanted)
    for n, module in layers(patched).items():
        assert torch.equal(module.weight._params.pre_quant_scale, factors[n])


@every_format
def test_saved_it_is_the_same_model(name, wan_files, sample, tmp_path):
    import comfy.sd

    path = wan_files[name][1]
    model = load_dit(path)
    saved = str(tmp_path / "saved.safetensors")
    comfy.sd.save_checkpoint(saved, model)
    with safetensors.safe_open(saved, framework="pt") as file:
        keys = set(file.keys())
    layer = next(iter(layers(model)))
    prefix = f"model.diffusion_model.{layer}."
    assert {f"{prefix}{end}" for end in ("weight", "weight_scale", "pre_quant_scale", "comfy_quant")} <= keys
    again = load_dit(saved)
    for one, other in zip(layers(model).values(), layers(again).values(), strict=True):
        assert torch.equal(one.weight.dequantize(), other.weight.dequantize())
    assert torch.equal(sample(again), sample(model))


def test_core_refuses_what_it_would_read_without_the_factors(wan_files, tmp_path, load_dense):
    import comfy.sd

    saved = str(tmp_path / "saved.safetensors")
    comfy.sd.save_checkpoint(saved, load_dit(wan_files["int8-channel-smooth"][1]))
    with pytest.raises(KeyError, match="int8-channel-smooth"):
        load_dense(saved)


def test_transcoding_keeps_the_smoothing(wan_files, load_dense, sample):
    dense, path = wan_files["fp8-channel-smooth"]
    model = load_dit(path, SchemeChoice(dit="int8-reference", transcode=True))
    assert {m.weight._layout_cls for m in layers(model).values()} == {FORMATS["int8-channel-smooth"].layout_name}
    assert distance(sample(model), sample(load_dense(dense))) < 0.08


def test_auto_transcodes_what_this_machine_cannot_multiply(wan_files, best):
    if best("fp8-channel").activation != "float" or best("int8-channel").activation == "float":
        pytest.skip("this machine multiplies fp8, or no int8")
    model = load_dit(wan_files["fp8-channel-smooth"][1], SchemeChoice(transcode=True))
    held = {(entry.file_format, entry.choice.format) for entry in model.model.x2v_plan.layers.values()}
    assert held == {("fp8-channel-smooth", SMOOTHED["int8-channel"])}


NORMS = {"affine_norm1": ("self_attn.q", "self_attn.k", "self_attn.v"), "affine_norm3": ("ffn.0",)}


class TestAffineNorm:
    """The model of a LightCompress export, computed as LightX2V does: its norms' scale and shift times the vectors."""

    @pytest.fixture(params=["int8-channel", "fp8-channel"])
    def export(self, request, wan_files, tmp_path):
        """(path of the export, path of its weights without quantization and without vectors, vectors by name)"""
        tensors = safetensors.torch.load_file(wan_files["int8-channel"][0])
        quantized, plain, vectors = dict(tensors), {key: t.float() for key, t in tensors.items()}, {}
        for block in sorted({key.split(".")[1] for key in tensors if key.startswith("blocks.")}):
            for norm, ends in NORMS.items():
                width = tensors[f"blocks.{block}.{ends[0]}.weight"].shape[1]
                generator = torch.Generator().manual_seed(int(block) + len(ends))
                vector = (torch.rand(width, generator=generator) * 3 + 0.1).to(torch.bfloat16)
                vectors |= {f"blocks.{block}.{norm}.{end}": vector.clone() for end in ("weight", "bias")}
                for end in ends:
                    key = f"blocks.{block}.{end}.weight"
                    held = FORMATS[request.param].quantize(tensors[key].float() / vector.float(), torch.float32)
                    quantized |= {key: held._qdata, f"{key}_scale": held._params.scale}
                    plain[key] = held.dequantize()
        paths = [tmp_path / name for name in ("export.safetensors", "plain.safetensors")]
        safetensors.torch.save_file(quantized | vectors, paths[0])
        safetensors.torch.save_file(plain, paths[1])
        return *map(str, paths), vectors

    def test_it_is_computed_as_upstream_does(self, export, load_dense, sample, monkeypatch):
        import comfy.ldm.wan.model as wan

        path, plain, vectors = export
        model = load_dit(path, SchemeChoice(dit="dequant", compute_dtype="fp32"))
        formats = {entry.choice.format for entry in model.model.x2v_plan.layers.values()}
        assert all(FORMATS[name].smooth for name in formats)
        got = sample(model)
        dense = load_dense(plain)
        untold = sample(dense)
        for index, block in enumerate(dense.model.diffusion_model.blocks):
            block.affine = {
                name.removeprefix(f"blocks.{index}."): vector.float()
                for name, vector in vectors.items()
                if name.startswith(f"blocks.{index}.")
            }
        monkeypatch.setattr(wan.WanAttentionBlock, "forward", upstream_block)
        expected = sample(dense)
        assert distance(got, expected) < 1e-4
        assert distance(untold, expected) > 0.1

    def test_the_model_says_so(self, export):
        model = load_dit(export[0])
        assert "-smooth" in "\n".join(model.model.x2v_plan.lines())


def upstream_block(self, x, e, freqs, context, context_img_len=257, transformer_options={}):  # noqa: B006
    """Core's block with the vectors where LightX2V's infer_self_attn and infer_ffn have them."""
    from comfy.ldm.wan.model import repeat_e
    from comfy.model_management import cast_to

    modulation = cast_to(self.modulation, dtype=x.dtype, device=x.device)
    e = (modulation + e).chunk(6, dim=1) if e.ndim < 4 else (modulation.unsqueeze(0) + e).unbind(2)

    def modulated(norm, shift, scale, name):
        weight = (1 + repeat_e(scale, x)) * self.affine[f"{name}.weight"]
        bias = repeat_e(shift, x) * self.affine[f"{name}.bias"]
        return norm(x) * weight + bias

    y = self.self_attn(
        modulated(self.norm1, e[0], e[1], "affine_norm1"), freqs, transformer_options=transformer_options
    )
    x = x + y * repeat_e(e[2], x)
    x = x + self.cross_attn(
        self.norm3(x), context, context_img_len=context_img_len, transformer_options=transformer_options
    )
    return x + self.ffn(modulated(self.norm2, e[3], e[4], "affine_norm3")) * repeat_e(e[5], x)
