"""Which encoders are taken, and when there have to be any."""

import pytest

from x2v_quant.lightx2v_config import ConfigError, find_models

FOLDER = "diffusion_models/Wan"
T5, VISION = "models_t5_umt5-xxl-enc", "models_clip_open-clip-xlm-roberta-large-vit-huge-14"
T5_INT8, T5_FP8 = ({"t5_quantized": True, "t5_quant_scheme": name} for name in ("int8", "fp8-q8f"))


@pytest.fixture
def find(config, paths, put):
    """find(**keys) -> the models, with a diffusion model that takes pictures."""
    put({f"{FOLDER}/fp8/model.safetensors": "fp8 i2v"})
    return lambda text=True, vision=True, **keys: find_models(
        config(dit_quantized=True, **keys), paths("Wan"), text, vision
    )


@pytest.mark.parametrize(
    ("files", "keys", "expected"),
    [
        ([f"{FOLDER}/{T5}-int8.pth", f"{FOLDER}/{T5}-fp8.pth"], T5_INT8, f"{FOLDER}/{T5}-int8.pth"),
        ([f"{FOLDER}/{T5}-int8.pth", f"{FOLDER}/{T5}-fp8.pth"], T5_FP8, f"{FOLDER}/{T5}-fp8.pth"),
        # a sub-folder outranks the folder, that outranks ComfyUI's
        ([f"{FOLDER}/{T5}-fp8.pth", f"{FOLDER}/fp8/{T5}-fp8.pth"], T5_FP8, f"{FOLDER}/fp8/{T5}-fp8.pth"),
        ([f"{FOLDER}/{T5}-fp8.pth", f"text_encoders/{T5}-fp8.pth"], T5_FP8, f"{FOLDER}/{T5}-fp8.pth"),
        ([f"text_encoders/{T5}-fp8.pth"], T5_FP8, f"text_encoders/{T5}-fp8.pth"),
        ([f"{FOLDER}/{T5}-bf16.pth", f"{FOLDER}/{T5}-fp8.pth"], {}, f"{FOLDER}/{T5}-bf16.pth"),
        (["text_encoders/mine.pth"], {**T5_FP8, "t5_quantized_ckpt": "/x/mine.pth"}, "text_encoders/mine.pth"),
    ],
)
def test_text_encoder(put, find, tmp_path, files, keys, expected):
    put({file: "t5 int8" if "int8" in file else "t5 fp8" for file in files})
    models = find(vision=False, **keys)
    assert models.t5.path.relative_to(tmp_path).as_posix() == expected
    assert not models.notes


def test_a_quantized_one_stands_in_for_the_original_and_says_so(put, find):
    put({f"{FOLDER}/{T5}-fp8.pth": "t5 fp8"})
    models = find(vision=False)
    assert models.t5.checkpoint.formats == {"fp8-channel": 21}
    assert f"{T5}-fp8.pth is loaded, for there is no {T5}-bf16.pth" in models.notes[0]


def test_none_is_no_error_unless_the_configuration_asks_for_one(find):
    models = find()
    assert models.t5 is None
    assert models.clip is None
    assert ["CLIP is empty" in models.notes[0], "CLIP_VISION is empty" in models.notes[1]] == [True, True]
    with pytest.raises(ConfigError, match=f"no quantized text encoder in Wan/ and .*{T5}-fp8.pth"):
        find(**T5_FP8)
    assert find(text=False, **T5_FP8).t5 is None


@pytest.mark.parametrize("name", [f"{VISION}-fp8.pth", "clip-fp8.pth"])
def test_vision_encoder(put, find, name):
    put({f"{FOLDER}/{name}": "clip fp8"})
    keys = {"clip_quantized": True, "clip_quant_scheme": "fp8"}
    assert find(text=False, **keys).clip.path.name == name
    assert find(text=False, **keys, use_image_encoder=False).clip is None
    assert find(text=False, vision=False, **keys).clip is None


def test_text_to_video_needs_no_vision_encoder(put, find):
    """The shipped configurations of text to video name one all the same."""
    put({f"{FOLDER}/fp8/model.safetensors": "fp8"})
    models = find(text=False, clip_quantized=True, clip_quant_scheme="fp8-q8f")
    assert models.clip is None
    assert not models.notes


def test_tokenizer(put, find, tmp_path):
    assert find().tokenizer is None
    folder = tmp_path / FOLDER / "google" / "umt5-xxl"
    folder.mkdir(parents=True)
    assert find().tokenizer == folder
    assert find(t5_tokenizer_path="/data/Wan-AI/Wan/google/umt5-xxl").tokenizer == folder
