"""Every name LightX2V ever gave a scheme."""

import itertools

import pytest

from x2v_quant.schemes import CLIP, DIT, SCHEMES, T5, UnknownSchemeError, names, resolve, schemes_for

LEGACY = {
    "W-fp8-channel-sym-A-fp8-channel-sym-dynamic-Vllm": "fp8-vllm",
    "W-int8-channel-sym-A-int8-channel-sym-dynamic-Vllm": "int8-vllm",
    "W-fp8-channel-sym-A-fp8-channel-sym-dynamic-Q8F": "fp8-q8f",
    "W-int8-channel-sym-A-int8-channel-sym-dynamic-Q8F": "int8-q8f",
    "W-fp8-block128-sym-A-fp8-channel-group128-sym-dynamic-Deepgemm": "fp8-b128-deepgemm",
    "W-fp8-block128-sym-A-fp8-channel-group128-sym-dynamic-Deepgemm-ActSgl": "fp8-b128-deepgemm",
    "W-fp8-channel-sym-A-fp8-channel-sym-dynamic-Vllm-ActSgl": "fp8-vllm",
    "W-fp8-channel-sym-A-fp8-channel-sym-dynamic-Sgl-ActVllm": "fp8-sgl",
    "W-fp8-channel-sym-A-fp8-channel-sym-dynamic-Sgl": "fp8-sgl",
    "W-int8-channel-sym-A-int8-channel-sym-dynamic-Sgl-ActVllm": "int8-sgl",
    "W-int8-channel-sym-A-int8-channel-sym-dynamic-Torchao": "int8-torchao",
    "W-int4-group128-sym-Marlin": "int4-g128-marlin",
    "w8a8-int8": "int8-vllm",
    "w8a8-fp8": "fp8-sgl",
    "w8a8-fp8block": "fp8-b128-deepgemm",
    "w8a8-mxfp8": "mxfp8",
    "w4a4-nvfp4": "nvfp4",
    "fp8": "fp8-sgl",
    "int8": "int8-vllm",
}
NVIDIA = [
    "fp8-vllm",
    "int8-vllm",
    "fp8-sgl",
    "int8-sgl",
    "fp8-q8f",
    "int8-q8f",
    "fp8-triton",
    "int8-triton",
    "fp8-torchao",
    "int8-torchao",
    "fp8-b128-deepgemm",
    "fp8-pertensor",
    "int4-g128-marlin",
    "mxfp4",
    "mxfp6-mxfp8",
    "mxfp8",
    "nvfp4",
    "nvfp4-split-n-workaround",
    "fp8-f16-accum",
]
ENCODER = [
    "fp8-vllm",
    "int8-vllm",
    "fp8-sgl",
    "fp8-q8f",
    "int8-q8f",
    "fp8-torchao",
    "int8-torchao",
    "fp8-triton",
    "int8-triton",
]


@pytest.mark.parametrize("old,new", LEGACY.items())
def test_legacy_names(old, new):
    assert resolve(old).name == new
    assert resolve(old.upper()).name == new


@pytest.mark.parametrize("name", NVIDIA)
def test_nvidia_schemes_of_the_diffusion_model(name):
    assert resolve(name).name == name
    assert name in names(DIT)


@pytest.mark.parametrize("component", [T5, CLIP])
@pytest.mark.parametrize("name", [*ENCODER, "fp8", "int8"])
def test_encoder_schemes(component, name):
    assert resolve(name, component).format in ("fp8-channel", "int8-channel")


def test_int8_sgl_is_for_t5_but_not_for_clip():
    assert resolve("int8-sgl", T5).kernel == "sgl"
    with pytest.raises(UnknownSchemeError, match="not made for the clip model"):
        resolve("int8-sgl", CLIP)


@pytest.mark.parametrize(
    "name,words",
    [
        ("gguf-Q4_K_S", "ComfyUI-GGUF"),
        ("W-gguf-Q4_K", "ComfyUI-GGUF"),
        ("Default", "ComfyUI's own loaders"),
        ("int8-npu", "Ascend"),
        ("fp8-e5m2", "is only read: such weights become fp8-channel at load"),
        ("float8_e5m2", "Pick auto, or fp8-channel to make a file."),
        ("fp9-vllm", "Unknown scheme 'fp9-vllm'. Schemes here: auto, fp8-vllm"),
    ],
)
def test_other_names_are_refused_with_the_remedy(name, words):
    with pytest.raises(UnknownSchemeError, match=words):
        resolve(name)


INTEL = ("intel_xpu_fp8", "intel_xpu_mm", "fp8-intel-xpu")


def joined(name):
    """The name with every mixture of hyphens and underscores between its words."""
    words = name.replace("_", "-").split("-")
    return [
        "".join(itertools.chain(*zip(words, [*between, ""], strict=True)))
        for between in itertools.product("-_", repeat=len(words) - 1)
    ]


@pytest.mark.parametrize("name", [one for name in INTEL for one in joined(name)])
def test_schemes_of_intel_are_known_however_their_words_are_joined(name):
    for typed in (name, f" {name.upper()} "):
        with pytest.raises(UnknownSchemeError, match=f"^Scheme {typed!r} is for Intel hardware, which this pack"):
            resolve(typed)


@pytest.mark.parametrize("name", ["int8_npu", "int8_vllm_hygon-dcu", "fp8_musa", "int8_tmo", "int8_iluvatar"])
def test_underscores_join_the_words_of_other_hardware_too(name):
    with pytest.raises(UnknownSchemeError, match="hardware, which this pack does not serve"):
        resolve(name)


def test_names_and_aliases_are_unique():
    every = [n.lower() for row in SCHEMES for n in (row.name, *row.aliases)]
    assert len(every) == len(set(every))


def test_schemes_for_a_file():
    fitting = schemes_for({"int8-channel"}, CLIP)
    assert fitting[0] == "auto"
    assert "int8-vllm" in fitting
    assert "fp8-vllm" not in fitting
    assert "int8-sgl" not in fitting
    assert schemes_for({}, DIT) == []
    assert schemes_for({"int8-channel", "fp8-channel"}, DIT) == ["auto", "dequant", "reference"]
