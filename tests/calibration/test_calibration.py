"""A calibration as data: what calls add, and its file."""

import pytest
import torch
from safetensors.torch import save_file

from x2v_quant.calibration import Calibration, CalibrationError


def tokens(seed, rows=50, width=8):
    return torch.randn((rows, width), generator=torch.Generator().manual_seed(seed))


def of(*batches, layer="blocks.0.ffn.0"):
    result = Calibration()
    for x in batches:
        result.add(layer, x.abs().amax(0), x.square().sum(0), x.shape[0])
        result.calls += 1
    return result


def same(a, b):
    assert (a.calls, a.tokens) == (b.calls, b.tokens)
    assert a.maxima.keys() == b.maxima.keys() == a.squares.keys() == b.squares.keys()
    for layer, maxima in a.maxima.items():
        assert torch.equal(maxima, b.maxima[layer])
        torch.testing.assert_close(a.squares[layer], b.squares[layer])


def test_calls_add_up_to_all_their_tokens():
    x = torch.cat([tokens(1), tokens(2, rows=30) * 5])
    calibration = of(tokens(1), tokens(2, rows=30) * 5)
    assert torch.equal(calibration.maxima["blocks.0.ffn.0"], x.abs().amax(0))
    torch.testing.assert_close(calibration.deviations("blocks.0.ffn.0"), x.square().mean(0).sqrt())


def test_a_mean_square_that_overflows_is_no_larger_than_the_maximum():
    calibration = of(torch.full((4, 2), 3e38))
    assert torch.equal(calibration.deviations("blocks.0.ffn.0"), torch.full((2,), 3e38))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    calibration = of(tokens(1), tokens(2))
    calibration.add("blocks.0.self_attn.q", torch.ones(3), torch.ones(3), 1)
    calibration.save(tmp_path / "calibration.safetensors")
    same(Calibration.load(tmp_path / "calibration.safetensors"), calibration)


def test_a_copy_stays_as_it_is():
    calibration = of(tokens(1))
    copy = calibration.on_cpu()
    calibration.add("blocks.0.ffn.0", torch.full((8,), 99.0), torch.ones(8), 1)
    same(copy, of(tokens(1)))


def test_an_empty_one_is_not_saved(tmp_path):
    with pytest.raises(CalibrationError, match="nothing was sampled with the calibrated model before"):
        Calibration().save(tmp_path / "calibration.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "write,words",
    [
        (lambda path: path.write_bytes(b"nonsense"), "is no calibration: "),
        (lambda path: save_file({"x": torch.ones(3)}, path), "is no calibration. Pick a file"),
        (
            lambda path: save_file(
                {"x.maxima": torch.ones(3), "x.squares": torch.ones(4), "x.tokens": torch.tensor(1)},
                path,
                {"format": "x2v-quant calibration 1", "calls": "1"},
            ),
            r"x has maxima of shape \[3\] that do not go with",
        ),
    ],
    ids=["bytes", "tensors", "shapes"],
)
def test_any_other_file_is_refused(write, words, tmp_path):
    path = tmp_path / "calibration.safetensors"
    write(path)
    with pytest.raises(CalibrationError, match=rf"calibration\.safetensors.*{words}"):
        Calibration.load(path)
