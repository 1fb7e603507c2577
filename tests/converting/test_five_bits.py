"""A source of fp8 e5m2: what convert makes of it, and what it says that was lost."""

import torch
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks.wan import WanSize, dit
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options

Q = "blocks.0.self_attn.q"


def test_convert_makes_fp8_channel_of_it_and_says_what_was_lost(tmp_path):
    tensors = dit(0, WanSize(dim=256, ffn=384, blocks=2, text=64), image_to_video=False)
    layers = [key for key in tensors if key.startswith("blocks.") and key.endswith((".q.weight", "ffn.0.weight"))]
    for key in layers:
        weight = tensors[key].float()
        scale = weight.abs().amax() / 57344
        # the small end of e5m2 is below e4m3's
        weight[:64, 1:] = scale * 2.0**-3
        tensors[key] = (weight / scale).to(torch.float8_e5m2)
        tensors[f"{key}_scale"] = scale.reshape(1)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, tmp_path / "source.safetensors")
    target = tmp_path / "target.safetensors"
    report = convert(tmp_path / "source.safetensors", target, Options(format="fp8-channel"))
    (line,) = (note for note in report["notes"] if "e4m3 of e5m2" in note)
    before, after = 0.0, 0.0
    read = open_checkpoint(target).load().quantized
    for key in layers:
        stored = tensors[key].float() * tensors[f"{key}_scale"]
        made = read[key.removesuffix(".weight")].wrap(torch.float32).dequantize()
        before, after = before + float(stored.norm()) ** 2, after + float((made - stored).norm()) ** 2
    share = (after / before) ** 0.5
    assert 1e-6 < share < 1e-4
    lost = f"the weights are {100 * share:.2g} % off those of the file by it (measured)"
    assert line == f"{len(layers)} layers were made e4m3 of e5m2: {lost}"
    assert load_file(target)[f"{Q}.weight"].dtype is torch.float8_e4m3fn
