"""Errors that only the command line comes to: what is typed, and what it says then."""

from collections.abc import Callable
from pathlib import Path

import torch

from x2v_quant.core.features import rotates_int8
from x2v_quant.demo import assets

from . import comparisons, kept_types, searches, typed_paths
from .calibrations import LAYER, maxima
from .cli_case import MODEL, NOWHERE, OUT, CliCase, WorkFolder, convert, lacking
from .headers import header
from .joined_layers import JOINED, PIECES, SIGN
from .loras import pair
from .place import demo
from .smoothed_layers import BLOCK, NORM, VECTOR, K
from .wan import made, wan

ORIGINAL = assets.names(assets.ORIGINAL)


def calibrated(content, more: str = "--format|int8") -> Callable[[WorkFolder], str]:
    return lambda work: f"{more}|--calibration|{work.put('calibration.safetensors', content)}"


def shifted() -> dict:
    """A norm with a shift of its own before an unquantized layer."""
    return {
        **wan(),
        **NORM,
        f"{BLOCK}.affine_norm1.bias": VECTOR + 0.25,
        f"{BLOCK}.self_attn.k.weight": torch.ones(8, K),
    }


def overwritten(work: WorkFolder) -> list[str]:
    work.put(OUT, b"mine")
    return ["convert", work.demo("t2v"), work.path(OUT), "--format", "int8"]


def into_a_folder(work: WorkFolder) -> list[str]:
    work.put("out/mine.txt", b"mine")
    return ["convert", work.demo("t2v"), work.path("out"), "--format", "int8", "--package", "shards"]


def among_its_shards(work: WorkFolder) -> list[str]:
    """The demo's model as a folder of one shard, and a target beside that."""
    work.put("wan/model-00001-of-00001.safetensors", Path(work.demo("t2v")).read_bytes())
    return ["convert", work.path("wan"), work.path("wan/out.safetensors"), "--format", "int8"]


def empty_folder(work: WorkFolder) -> list[str]:
    (work.folder / "wan").mkdir()
    return ["convert", work.path("wan"), work.path(OUT)]


def infinite_scale() -> dict:
    layer = made("int4")
    layer["weight_scale"][3] = float("inf")
    return wan(None, **layer)


WRONG = "knows none of the model's layers, "
OTHER_MODEL = "it was recorded on another model. Calibrate this one."
CLI_CASES = {
    **comparisons.CLI_CASES,
    **kept_types.CLI_CASES,
    **searches.CLI_CASES,
    **typed_paths.CLI_CASES,
    "convert: nowhere": CliCase(lambda work: ["convert", NOWHERE, OUT], (f"{NOWHERE} is not in ", ". Check the path.")),
    "convert: an empty folder": CliCase(empty_folder, ("wan is a folder without a model file. Pick another one.",)),
    "convert: a broken file": convert(
        header([]), "--format|int8", f"{MODEL} has a header that is no table of tensors."
    ),
    "convert: a problem": convert(wan(weight_scale=None), "--format|int8", f"{MODEL}: ", "has no scale. "),
    "convert: an ending": convert(
        None, "--format|int8", "out.pth is not a name for a model file: end it in .safetensors", out="out.pth"
    ),
    "convert: a folder's ending": convert(
        None,
        "--format|int8|--package|shards",
        f"{OUT} would be a folder of files: give it a name without .safetensors.",
    ),
    "convert: itself": convert(
        wan(),
        "--format|int8",
        f"{MODEL} is the source itself, which is never changed: choose another target.",
        out=MODEL,
    ),
    "convert: among the source's files": CliCase(
        among_its_shards,
        ("out.safetensors would lie among the files of the source: choose a place outside wan/.",),
    ),
    "convert: a folder that is there": CliCase(
        into_a_folder, ("out is a folder that is there already: choose another name, or empty it.",)
    ),
    "convert: a file that is there": CliCase(
        overwritten, (f"{OUT} is there already: choose another name, or say --overwrite.",)
    ),
    "convert: a part's name": convert(
        None,
        "--format|int8",
        "block_0.safetensors is the name of a part of a model, not of a whole one: choose another.",
        out="block_0.safetensors",
    ),
    "convert: an incomplete model": CliCase(
        lambda work: ["convert", lacking(work), work.path(OUT), "--format", "int8"],
        (f"{MODEL}: blocks.0.ffn.0.weight is missing. The file is incomplete or was made for another version",),
    ),
    "convert: a format for a search": convert(
        None,
        "--format|int8|--target-snr|30",
        "A search finds the formats itself: leave int8 out, or name it a candidate.",
    ),
    "convert: GPTQ without a calibration": convert(
        None,
        "--format|int8|--rounding|gptq",
        "--rounding gptq goes by inputs of the layers, and no calibration is given. Record some with the nodes ",
        "and add --calibration FILE; or leave --rounding out.",
    ),
    "convert: GPTQ without inputs": convert(
        None,
        calibrated(maxima(blocks__0__ffn__0=8), "--format|int8|--rounding|gptq"),
        "--rounding gptq needs whole inputs of layers, and the calibration has only largest values. Record some ",
    ),
    "convert: AWQ in another dialect": convert(
        None,
        "--format|int4-g128|--rounding|awq|--dialect|lightx2v",
        "--rounding awq stores a factor for each channel, for which the dialect lightx2v has no place: choose the ",
        "dialect x2v, or another rounding.",
    ),
    "convert: a rotation for a search": convert(
        None,
        "--target-snr|30|--rotation|64",
        "A search finds the formats itself: leave the rotation out, or name int8-convrot a candidate.",
    ),
    "convert: always rotated": convert(
        None, "--format|w4a8|--rotation|none", "w4a8 is always rotated. Leave --rotation out, or choose another format."
    ),
    "convert: never rotated": convert(
        None,
        "--format|fp8|--rotation|64",
        "fp8-channel has no rotation: it is for ",
        "Choose one of these, or leave --rotation out.",
    ),
    **(
        {
            "convert: no such rotation": convert(
                None,
                "--format|int8|--rotation|100",
                "int8-convrot has no rotation of 100 channels. Its rotations: 4, 16, 64, 256, 1024, 4096, none.",
            )
        }
        if rotates_int8()
        else {}
    ),
    "convert: candidates for nothing": convert(
        None,
        "--format|int8|--candidates|int8",
        "Candidates are what a search chooses from: give it a target, an SNR or a size.",
    ),
    "convert: no layer": convert(
        {"some.thing": torch.zeros(3), "token_embedding.weight": torch.zeros(64, 64)},
        "--format|int8",
        f"{MODEL} has no layer to quantize: all of its ",
        "linear layers are kept. Say which ones with lines like",
    ),
    "convert: a dialect": convert(
        None,
        "--format|fp8-channel|--dialect|comfyui",
        "would be fp8-channel, which the dialect comfyui does not have: choose one of ",
        "or the dialect x2v, which has every format.",
    ),
    "convert: a LoRA for an encoder": convert(
        demo("t5", kind="bf16"),
        lambda work: f"--format|int8|--lora|{work.put('lora.safetensors', pair())}",
        "model.pth is no diffusion model: LoRAs are merged into those only.",
        name="model.pth",
    ),
    "convert: a LoRA for another": convert(
        None,
        lambda work: f"--format|int8|--lora|{work.put('lora.safetensors', pair('lora_unet_mid_block'))}",
        "lora.safetensors has nothing for this model: its keys are like lora_unet_mid_block",
        "Pick a LoRA that was made for it.",
    ),
    "convert: no LoRA": convert(
        None, f"--format|int8|--lora|{NOWHERE}", f"There is no LoRA at {NOWHERE}. Check the path."
    ),
    "convert: no lines": convert(
        None,
        "--format|int8|--layers|nowhere.txt",
        "nowhere.txt cannot be read: No such file or directory. Check the path.",
    ),
    "convert: an embedding": convert(
        demo("t5", kind="bf16"),
        "--format|int8|--dialect|lightx2v|--layer|token_embedding = int8",
        "Layer rule 'token_embedding = int8-channel': token_embedding is an embedding, a table that is looked up, and ",
        "stays as it is. Remove the line.",
        name="model.pth",
    ),
    "convert: no calibration": convert(
        None, f"--format|int8|--calibration|{NOWHERE}", f"There is no calibration at {NOWHERE}. Check the path."
    ),
    "convert: alpha": CliCase(
        lambda work: ["convert", work.demo("t2v"), OUT, "--alpha", "1.5"], ("1.5 is not between 0 and 1",), status=2
    ),
    "convert: calibrated for ComfyUI": convert(
        None,
        calibrated(maxima(blocks__0__ffn__0=128), "--format|int8|--dialect|comfyui"),
        "ComfyUI's dialect has no place for smoothing: choose the dialect x2v or lightx2v.",
    ),
    "convert: another's calibration": convert(
        None,
        calibrated(maxima(blocks__0__ffn__0=8)),
        f"The calibration saw 8 input channels of layer {LAYER}, which has 128: {OTHER_MODEL}",
    ),
    "convert: another's calibration for a search": convert(
        None,
        calibrated(maxima(layers__0__q=8), "--target-snr|15|--candidates|int4-g128"),
        f"The calibration {WRONG}",
        f"for instance: {OTHER_MODEL}",
    ),
    "convert: another width for a search": convert(
        None,
        calibrated(maxima(blocks__0__ffn__0=8), "--target-snr|15|--candidates|int4-g128"),
        f"The calibration saw 8 input channels of layer {LAYER}, which has 128: {OTHER_MODEL}",
    ),
    "convert: NaN": convert(
        demo("t2v", searches.nan, "bf16"),
        "--format|int8",
        f"{MODEL}: {LAYER}.weight contains NaN. The model is damaged: download it again, or merge it again.",
    ),
    "convert: a value": convert(
        infinite_scale(),
        "--format|int8",
        f"{MODEL}: blocks.1.self_attn.q.weight_scale has a scale that is not a number.",
    ),
    "convert: a shift": convert(
        shifted(),
        "--target-snr|9|--candidates|int8",
        f"{MODEL}: {BLOCK}.affine_norm1.bias differs from the weight beside it",
    ),
    "convert: a piece": convert(
        {**SIGN, **{f"{layer}.{end}": t for layer in PIECES[:2] for end, t in made("int8", 256, 256).items()}},
        "--format|int8|--dialect|x2v",
        f"{MODEL}: {JOINED}.weight is made of 3 tensors of which 2 are there. The file is incomplete: download it",
    ),
    "convert: unequal shares": convert(
        {
            "noise_refiner.0.attention.qkv.weight": torch.ones(640, 256),
            "layers.0.adaLN_modulation.1.bias": torch.zeros(3),
        },
        "--format|int8|--dialect|lightx2v",
        f"{MODEL}: {JOINED}.weight has shape [640, 256], which is not the 3 equal parts that LightX2V has of it.",
        "Convert this model to the dialect comfyui or x2v.",
    ),
}
