"""Numbers that are none, or that 16 bits cannot hold, are refused with their key."""

import pytest
import torch
from distance import distance

from x2v_quant.loras import LoRAError, apply_lora

pytestmark = pytest.mark.usefixtures("inference")
NAME, LAYER = "lora.safetensors", "diffusion_model.blocks.0.ffn.0"
UP, DOWN = torch.full((512, 4), 0.1), torch.full((4, 128), 0.1)
LORA = {"lora_up.weight": UP, "lora_down.weight": DOWN, "alpha": torch.tensor(4.0)}
PEFT = {"lora_B.weight": UP, "lora_A.weight": DOWN}
LOHA = {f"hada_w{i}_{p}": UP if p == "a" else DOWN for i in "12" for p in "ab"}
LOKR = {"lokr_w1": torch.ones(4, 4), "lokr_w2": torch.ones(128, 32)}
FILES = {
    "lora": LORA,
    "peft": PEFT,
    "dora": LORA | {"dora_scale": torch.ones(512, 1)},
    "magnitudes": PEFT | {"lora_magnitude_vector": torch.ones(512)},
    "bias": PEFT | {"lora_B.bias": torch.ones(512)},
    "diff": {"diff": torch.ones(512, 128), "diff_b": torch.ones(512)},
    "set": {"set_weight": torch.ones(512, 128)},
    "loha": LOHA,
    "lokr": LOKR,
}
EACH = [(kind, suffix) for kind, held in FILES.items() for suffix in held]


def file(held):
    return {f"{LAYER}.{suffix}": tensor for suffix, tensor in held.items()}


def broken(tensor, value):
    made = tensor.clone()
    made.view(-1)[-1] = value
    return made


@pytest.mark.parametrize("mode", ["merge", "bypass"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind,suffix", EACH)
def test_a_number_that_is_none_is_refused(kind, suffix, value, mode, models):
    tensors = file(FILES[kind] | {suffix: broken(FILES[kind][suffix], value)})
    with pytest.raises(
        LoRAError, match=rf"^{NAME}: {LAYER}\.{suffix} contains NaN or infinite values\. .*another LoRA\.$"
    ):
        apply_lora(models("int8-channel"), tensors, NAME, 1.0, mode)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_in_every_dtype(dtype, models):
    tensors = file(PEFT | {"lora_A.weight": broken(DOWN, float("nan")).to(dtype)})
    with pytest.raises(LoRAError, match=r"lora_A\.weight contains NaN"):
        apply_lora(models("int8-channel"), tensors, NAME)


@pytest.mark.parametrize(
    "held,words",
    [
        (PEFT | {"lora_B.weight": UP * 3000, "lora_A.weight": DOWN * 3000}, "lora_B.*lora_A.* multiply to 3.6e"),
        (LORA | {"alpha": torch.tensor(1e8)}, "lora_up.*lora_down.* multiply to 1e"),
        (
            PEFT | {"lora_B.weight": UP * 1e6},
            "lora_B.weight contains 1e.05, which is more than 16 bits can store .65504",
        ),
        (LOHA | {"hada_w1_a": UP * 1e4, "hada_w2_a": UP * 1e4}, "hada_w1_a.* multiply to"),
        (
            LOKR | {"lokr_w1": LOKR["lokr_w1"] * 1000, "lokr_w2": LOKR["lokr_w2"] * 100},
            "lokr_w1.*lokr_w2 multiply to 1e",
        ),
        ({"diff": torch.full((512, 128), 7e4)}, "diff contains 7e"),
    ],
    ids=["product", "alpha", "factor", "loha", "lokr", "diff"],
)
def test_what_16_bits_cannot_hold_is_refused(held, words, models):
    with pytest.raises(LoRAError, match=words):
        apply_lora(models("int8-channel"), file(held), NAME)


@pytest.mark.parametrize("kind", FILES)
def test_sound_files_are_taken(kind, models):
    _, report = apply_lora(models("int8-channel"), file(FILES[kind]), NAME)
    assert report.startswith("The whole LoRA is used: ")


def test_large_factors_whose_product_is_small_are_taken(models):
    """The bound is far above what the product is."""
    up, down = torch.zeros(512, 4), torch.zeros(4, 128)
    up[:, 0], down[1] = 3000.0, 3000.0
    up[0, 1], down[0, 0] = 1e-3, 1e-3
    apply_lora(models("int8-channel"), file({"lora_B.weight": up, "lora_A.weight": down}), NAME)


@pytest.mark.parametrize("mode", ["merge", "bypass"])
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_a_lora_that_is_stored_in_fp8_is_the_lora_of_its_values(dtype, mode, models, plain, output):
    model = models("fp8-channel")
    stored = {key: tensor.to(dtype) for key, tensor in plain(2).items()}
    values = {key: tensor.float() for key, tensor in stored.items()}
    found = output(apply_lora(model, stored, NAME, 1.0, mode)[0])
    alone = output(model)
    assert torch.equal(found, output(apply_lora(model, values, NAME, 1.0, mode)[0]))
    assert distance(found, alone) > 0.05
    output(model)
