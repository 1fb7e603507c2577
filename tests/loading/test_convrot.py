"""Rotated int8 files as ComfyUI runs and writes them: the same latents, codes and markers, bit for bit."""

from pathlib import Path

import pytest
import safetensors.torch
import small_wan
import torch
from comfy_kitchen.tensor import QuantizedTensor
from older_comfyui import core_rotates_int8
from rotated_files import marker
from small_wan import saved_by_core

from x2v_quant.benchmarks.wan import WanSize
from x2v_quant.checkpoints.encodings import COMFYUI, LIGHTX2V, X2V
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.formats import FORMATS, format_of
from x2v_quant.formats.core_layout import renamed
from x2v_quant.layer_rules import Selection
from x2v_quant.loading.dit import load_dit
from x2v_quant.quantizing import quantize_model
from x2v_quant.quantizing.saving import save_model
from x2v_quant.schemes import SchemeChoice

pytestmark = [pytest.mark.usefixtures("inference"), core_rotates_int8]
AS_CORE = SchemeChoice(dit="int8-convrot-comfyui", compute_dtype="fp32")
NAMES = ("int8-convrot", "int8-convrot-16", "int8-convrot-64")
SETTING = "blocks.0.self_attn.comfy_attention.config"


@pytest.fixture(scope="module")
def wan_files(tmp_path_factory):
    """Of four blocks. Where a file's tensors lie in memory can show in a last bit, of which the next layer's rounding
    makes a step: what is compared bit for bit is compared at one size."""
    return small_wan.WanFiles(tmp_path_factory, WanSize())


def weights(model):
    return {
        name: module.weight
        for name, module in model.model.diffusion_model.named_modules()
        if isinstance(getattr(module, "weight", None), QuantizedTensor)
    }


@pytest.mark.parametrize("name", NAMES)
def test_core_s_operator_gives_core_s_latents(name, wan_files, load_dense, sample):
    path = wan_files[name][1]
    core, ours = load_dense(path), load_dit(path, AS_CORE)
    assert {format_of(renamed(weight)).name for weight in weights(core).values()} == {name}
    assert {layer.choice.kernel.name for layer in ours.model.x2v_plan.layers.values()} == {"comfyui"}
    assert torch.equal(sample(ours), sample(core))


@pytest.mark.parametrize("name", NAMES)
def test_what_core_saves_is_read_as_the_same_codes(name, wan_files, load_dense, sample, tmp_path):
    core = load_dense(wan_files[name][1])
    path = saved_by_core(core, tmp_path / "core.safetensors")
    assert any(key.startswith("model.diffusion_model.") for key in safetensors.torch.load_file(path))
    ours = load_dit(str(path), AS_CORE)
    found = weights(ours)
    for layer, weight in weights(core).items():
        assert torch.equal(found[layer]._qdata, weight._qdata)
        assert found[layer]._params.convrot_groupsize == weight._params.convrot_groupsize
    assert torch.equal(sample(ours), sample(core))


def test_core_saves_our_model_as_its_own(wan_files, load_dense, tmp_path):
    path = wan_files["int8-convrot-64"][1]
    core, ours = load_dense(path), load_dit(path, AS_CORE)
    found = [
        safetensors.torch.load_file(saved_by_core(model, tmp_path / f"{name}.safetensors"))
        for name, model in (("core", core), ("ours", ours))
    ]
    layer = "model.diffusion_model.blocks.0.ffn.0"
    for end in ("weight", "weight_scale", "comfy_quant"):
        assert torch.equal(*(tensors[f"{layer}.{end}"] for tensors in found))


@pytest.mark.parametrize("kernel", ["torch", "dequant", "reference"])
def test_other_kernels_stay_near_it(kernel, wan_files, sample):
    path = wan_files["int8-convrot"][1]
    model = load_dit(path, SchemeChoice(dit=f"int8-convrot-{kernel}", compute_dtype="fp32"))
    expected = sample(load_dit(path, AS_CORE))
    assert (sample(model) - expected).norm() < 0.03 * expected.norm()


def test_plain_and_rotated_layers_of_several_groups_in_one_file(wan_files, load_dense, sample, tmp_path):
    """With core's attention settings beside them, which are passed over aloud."""
    tensors = safetensors.torch.load_file(wan_files["int8-convrot"][1])
    dense = safetensors.torch.load_file(wan_files["int8-convrot"][0])
    for layer, name in (("blocks.1.self_attn.q", "int8-convrot-64"), ("blocks.1.ffn.0", "int8-channel")):
        held = FORMATS[name].quantize(dense[f"{layer}.weight"].float(), torch.bfloat16)
        tensors |= held.state_dict(f"{layer}.weight") | {f"{layer}.comfy_quant": marker(name)}
    safetensors.torch.save_file(tensors, tmp_path / "without.safetensors")
    tensors[SETTING] = torch.tensor(list(b'{"backend": "sage"}'), dtype=torch.uint8)
    path = tmp_path / "mixed.safetensors"
    safetensors.torch.save_file(tensors, path)
    ours = load_dit(str(path), SchemeChoice(dit="reference", compute_dtype="fp32"))
    assert {entry.file_format for entry in ours.model.x2v_plan.layers.values()} == {*NAMES[::2], "int8-channel"}
    core = sample(load_dense(str(tmp_path / "without.safetensors")))
    assert (sample(ours) - core).norm() < 0.03 * core.norm()


class TestConverted:
    @pytest.mark.parametrize("dialect", [COMFYUI, X2V])
    def test_the_original_becomes_what_core_reads(self, dialect, wan_files, load_dense, sample, tmp_path):
        dense, path = wan_files["int8-convrot"][0], tmp_path / "out.safetensors"
        convert(Path(dense), path, Options(format="int8-convrot", dialect=dialect))
        written, original = safetensors.torch.load_file(path), safetensors.torch.load_file(dense)
        for layer in ("blocks.0.ffn.0", "blocks.3.cross_attn.v"):
            theirs = QuantizedTensor.from_float(
                original[f"{layer}.weight"].float(), "TensorWiseINT8Layout", per_channel=True, convrot=True
            )
            for name, tensor in theirs.state_dict(f"{layer}.weight").items():
                assert torch.equal(written[name], tensor)
            assert torch.equal(written[f"{layer}.comfy_quant"], marker("int8-convrot"))
        assert torch.equal(sample(load_dit(str(path), AS_CORE)), sample(load_dense(str(path))))

    def test_a_rotated_source_keeps_its_codes_and_core_s_settings(self, wan_files, tmp_path):
        source, path = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
        tensors = safetensors.torch.load_file(wan_files["int8-convrot-64"][1])
        tensors[SETTING] = torch.tensor([1, 2, 3], dtype=torch.uint8)
        safetensors.torch.save_file(tensors, source)
        for options in (Options(dialect=COMFYUI), Options(dialect=X2V, format="int8-convrot")):
            path.unlink(missing_ok=True)
            convert(source, path, options)
            written = safetensors.torch.load_file(path)
            assert written.keys() == tensors.keys()
            assert all(torch.equal(written[name], tensors[name]) for name in tensors)

    def test_lightx2v_has_no_place_for_the_settings(self, wan_files, tmp_path):
        source = tmp_path / "in.safetensors"
        tensors = safetensors.torch.load_file(wan_files["int8-convrot"][0])
        safetensors.torch.save_file(tensors | {SETTING: torch.zeros(3, dtype=torch.uint8)}, source)
        report = convert(source, tmp_path / "out.safetensors", Options(format="int8", dialect=LIGHTX2V))
        assert "1 attention settings are left out" in str(report)
        assert SETTING not in safetensors.torch.load_file(tmp_path / "out.safetensors")

    def test_to_another_format_and_back(self, wan_files, sample, load_dense, tmp_path):
        first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
        convert(Path(wan_files["int8-convrot"][1]), first, Options(format="int8-channel", dialect=X2V))
        convert(first, second, Options(format="int8-convrot", dialect=X2V))
        expected = sample(load_dense(wan_files["int8-convrot"][0]))
        for path in (first, second):
            assert (sample(load_dit(str(path))) - expected).norm() < 0.03 * expected.norm()


class TestQuantizedInTheGraph:
    def test_cores_layers_keep_their_codes(self, wan_files, load_dense, sample):
        core = load_dense(wan_files["int8-convrot-64"][1])
        made = quantize_model(core, Selection("Wan", dict.fromkeys(weights(core), "int8-convrot")), AS_CORE)
        for layer, weight in weights(made).items():
            assert weight._qdata.data_ptr() == weights(core)[layer]._qdata.data_ptr()
        assert torch.equal(sample(made), sample(core))

    @pytest.mark.parametrize("dialect", [COMFYUI, X2V])
    def test_what_is_saved_is_what_was_quantized(self, dialect, wan_files, load_dense, sample, tmp_path):
        dense = load_dense(wan_files["int8-convrot"][0])
        layers = load_dit(wan_files["int8-convrot"][1]).model.x2v_plan.layers
        made = quantize_model(dense, Selection("Wan", dict.fromkeys(layers, "int8-convrot")), AS_CORE)
        save_model(made, tmp_path / "saved.safetensors", dialect)
        again = load_dit(str(tmp_path / "saved.safetensors"), AS_CORE)
        saved = again.model.diffusion_model.state_dict()
        for name, tensor in made.model.diffusion_model.state_dict().items():
            assert torch.equal(tensor.view(torch.uint8), saved[name].view(torch.uint8)), name
        assert torch.equal(sample(load_dense(str(tmp_path / "saved.safetensors"))), sample(again))
