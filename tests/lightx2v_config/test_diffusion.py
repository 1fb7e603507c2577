"""Which diffusion model is taken. Many of these are what LightX2V gets wrong."""

import time

import pytest

from x2v_quant.lightx2v_config import ConfigError, find_models

FOLDER = "diffusion_models/Wan"
INT8 = {"dit_quantized": True, "dit_quant_scheme": "int8-vllm"}
FP8 = {"dit_quantized": True, "dit_quant_scheme": "fp8-sgl"}


@pytest.fixture
def find(config, paths):
    """find(folder name, **keys) -> the models, without encoders."""
    return lambda folder="Wan", **keys: find_models(config(**keys), paths(folder), False, False)


def below(tmp_path, found):
    return found.path.relative_to(tmp_path).as_posix()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (INT8, "int8/model.safetensors"),
        (FP8, "fp8/model.safetensors"),
        ({}, "original/model.safetensors"),
        ({**INT8, "denoising_step_list": [1000, 500]}, "distill_int8/model.safetensors"),
        # no distilled fp8 is there
        ({**FP8, "denoising_step_list": [1000, 500]}, "fp8/model.safetensors"),
        # the scheme that says nothing of a format takes the first quantized one
        ({"dit_quantized": True}, "int8/model.safetensors"),
    ],
)
def test_sub_folders(put, find, tmp_path, keys, expected):
    kinds = {"distill_int8": "int8", "int8": "int8", "fp8": "fp8", "original": "dense"}
    put({f"{FOLDER}/{folder}/model.safetensors": kind for folder, kind in kinds.items()})
    assert below(tmp_path, find(**keys).high) == f"{FOLDER}/{expected}"


def test_the_folder_itself_comes_last(put, find, tmp_path):
    put({f"{FOLDER}/a.safetensors": "int8"})
    assert find(**INT8).high.path.name == "a.safetensors"
    put({f"{FOLDER}/int8/b.safetensors": "int8"})
    assert find(**INT8).high.path.name == "b.safetensors"


def test_encoders_beside_the_model_are_not_it(put, find):
    """As the files of Wan 2.1 lie: everything in one folder."""
    put({f"{FOLDER}/a.safetensors": "fp8", f"{FOLDER}/models_t5_umt5-xxl-enc-fp8.pth": "t5 fp8"})
    put({f"{FOLDER}/models_t5.safetensors": "t5 dense"})
    assert find(**FP8).high.path.name == "a.safetensors"


def test_one_of_several_is_taken_by_its_format(put, find):
    """LightX2V merges every file of the folder into one model."""
    put({f"{FOLDER}/a.safetensors": "fp8", f"{FOLDER}/b.safetensors": "int8", f"{FOLDER}/c.safetensors": "dense"})
    assert find(**FP8).high.path.name == "a.safetensors"
    assert find(**INT8).high.path.name == "b.safetensors"
    assert find().high.path.name == "c.safetensors"


def test_several_that_fit_are_refused(put, find):
    put({f"{FOLDER}/a.safetensors": "fp8", f"{FOLDER}/b.safetensors": "fp8"})
    with pytest.raises(ConfigError, match=r"dit_quantized_ckpt is missing.*several models: a\.safet.*b\.safet"):
        find(**FP8)


def test_a_folder_of_blocks_is_one_model_and_its_index_counts(put, find):
    """LightX2V takes the stray file for a part of it."""
    put({f"{FOLDER}/int8": "int8 blocks", f"{FOLDER}/int8/stray.safetensors": "fp8"})
    found = find(**INT8).high
    assert found.path.name == "int8"
    assert found.checkpoint.formats == {"int8-channel": 20}
    assert "stray.safetensors" not in {file.name for file in found.checkpoint.files}


def test_a_quantized_file_that_is_called_original_keeps_its_scales(put, find):
    """LightX2V loads its codes without them: noise, and no error."""
    put({f"{FOLDER}/a.safetensors": "fp8"})
    for keys in ({}, {"dit_original_ckpt": "a.safetensors"}):
        found = find(**keys).high
        assert found.checkpoint.formats == {"fp8-channel": 10}
        assert "a.safetensors is quantized (fp8-channel), which the configuration does not say" in found.note


@pytest.mark.parametrize("keys", [FP8, {**FP8, "dit_quantized_ckpt": "a.safetensors"}])
def test_an_unquantized_file_is_not_taken_for_a_quantized_one(put, find, keys):
    put({f"{FOLDER}/a.safetensors": "dense"})
    with pytest.raises(ConfigError, match=r"a\.safetensors"):
        find(**keys)


def test_a_folder_without_a_fitting_model_says_what_it_has(put, find):
    put({f"{FOLDER}/a.safetensors": "fp8"})
    with pytest.raises(ConfigError, match=r"no int8-vllm diffusion model in Wan/.*a\.safetensors \(fp8-channel\)"):
        find(**INT8)


@pytest.mark.parametrize(
    "written",
    [
        "a.safetensors",
        "distill_fp8/a.safetensors",
        "/data/models/Wan/distill_fp8/a.safetensors",
        "D:\\models\\Wan\\distill_fp8\\a.safetensors",
        "lightx2v/Wan2.1-Distill-Models/a.safetensors",
        "../../Wan/distill_fp8/a.safetensors",
        "distill_fp8",
    ],
)
@pytest.mark.parametrize("folder", ["Wan", None])
def test_a_path_of_another_machine_is_found_by_its_end(put, find, written, folder):
    put({f"{FOLDER}/distill_fp8/a.safetensors": "fp8"})
    if folder is None and written == "distill_fp8":
        written = "Wan/distill_fp8"
    assert find(folder, **FP8, dit_quantized_ckpt=written).high.path.name == "a.safetensors"


def test_nothing_outside_of_the_folders_is_read(put, find, tmp_path):
    put({"secret/a.safetensors": "fp8", f"{FOLDER}/b.safetensors": "fp8"})
    for written in (str(tmp_path / "secret" / "a.safetensors"), "../../secret/a.safetensors"):
        with pytest.raises(ConfigError, match=r"names a\.safetensors, which is not in Wan/ and ComfyUI's"):
            find(**FP8, dit_quantized_ckpt=written)


def test_the_model_folder_comes_before_others(put, find):
    put({f"{FOLDER}/x/a.safetensors": "fp8", "diffusion_models/Other/y/a.safetensors": "fp8"})
    assert find(**FP8, dit_quantized_ckpt="a.safetensors").high.path.parent.name == "x"


def test_a_name_with_brackets_means_itself(put, find):
    put({f"{FOLDER}/x/a[1].safetensors": "fp8", f"{FOLDER}/x/a1.safetensors": "int8"})
    assert find(**FP8, dit_quantized_ckpt="a[1].safetensors").high.path.name == "a[1].safetensors"


@pytest.mark.parametrize("written", ["/", "//", "..", "../..", "C:", "C:/.."])
def test_a_path_without_a_name_is_refused(put, find, written):
    put({f"{FOLDER}/a.safetensors": "fp8"})
    with pytest.raises(ConfigError, match="which names no file"):
        find(**FP8, dit_quantized_ckpt=written)


def test_a_name_that_two_files_have_is_refused(put, find):
    put({f"{FOLDER}/x/a.safetensors": "fp8", f"{FOLDER}/y/a.safetensors": "fp8"})
    with pytest.raises(ConfigError, match=r"of which there are 2.*Write more of its path"):
        find(**FP8, dit_quantized_ckpt="a.safetensors")
    assert find(**FP8, dit_quantized_ckpt="y/a.safetensors").high.path.parent.name == "y"


def test_without_a_folder_the_file_has_to_be_named(find):
    with pytest.raises(ConfigError, match=r"dit_quantized_ckpt is missing\. Pick the model folder"):
        find(None, **FP8)


EXPERTS = {"boundary_step_index": 2}


def test_experts_in_their_folders(put, find, tmp_path):
    put({f"{FOLDER}/high_noise_model/m.safetensors": "fp8", f"{FOLDER}/low_noise_model/m.safetensors": "fp8"})
    for keys in (FP8, {**FP8, **EXPERTS}):
        models = find(**keys)
        assert below(tmp_path, models.high) == f"{FOLDER}/high_noise_model/m.safetensors"
        assert below(tmp_path, models.low) == f"{FOLDER}/low_noise_model/m.safetensors"


def test_distilled_experts_in_theirs(put, find):
    put({f"{FOLDER}/{name}_noise_model/m.safetensors": "dense" for name in ("high", "low")})
    put({f"{FOLDER}/distill_models/{name}_noise_model/d.safetensors": "dense" for name in ("high", "low")})
    models = find(**EXPERTS, denoising_step_list=[1000, 500])
    assert [part.path.name for part in (models.high, models.low)] == ["d.safetensors"] * 2
    models = find(boundary=0.9)
    assert [part.path.name for part in (models.high, models.low)] == ["m.safetensors"] * 2


def test_experts_by_their_names(put, find):
    names = ["wan2.2_A14b_high_noise_fp8", "wan2.2_A14b_low_noise_fp8", "wan2.2_A14b_high_noise_bf16"]
    put({f"{FOLDER}/{name}.safetensors": "dense" if "bf16" in name else "fp8" for name in names})
    models = find(**FP8, **EXPERTS)
    assert [part.path.stem for part in (models.high, models.low)] == names[:2]


def test_the_quantized_high_noise_expert_never_is_the_original(put, find):
    """LightX2V's high branch falls through to high_noise_original_ckpt, its low branch does not."""
    put({f"{FOLDER}/{name}_noise_model/m.safetensors": "fp8" for name in ("high", "low")})
    put({f"{FOLDER}/{name}.safetensors": "dense" for name in ("high", "low")})
    originals = {f"{name}_noise_original_ckpt": f"{name}.safetensors" for name in ("high", "low")}
    models = find(**FP8, **originals)
    assert [part.path.name for part in (models.high, models.low)] == ["m.safetensors"] * 2
    models = find(**originals)
    assert [part.path.name for part in (models.high, models.low)] == ["high.safetensors", "low.safetensors"]


def test_one_file_named_makes_it_a_model_of_one(put, find):
    put({f"{FOLDER}/{name}_noise_model/m.safetensors": "fp8" for name in ("high", "low")})
    assert find(**FP8, dit_quantized_ckpt="low_noise_model/m.safetensors").low is None


def test_a_path_of_many_parts_is_not_looked_for(put, find):
    """20,000 of them took 82 seconds."""
    put({f"{FOLDER}/m.safetensors": "fp8"})
    begun = time.process_time()
    with pytest.raises(
        ConfigError, match="dit_quantized_ckpt is a path of 20001 parts, and no more than 64 are looked"
    ):
        find(**FP8, dit_quantized_ckpt="a/" * 20_000 + "m.safetensors")
    assert time.process_time() - begun < 1
