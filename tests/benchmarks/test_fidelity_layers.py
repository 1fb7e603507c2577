"""What is said of a layer: signal to noise of its weight and of its output, on inputs that were recorded."""

import pytest
import torch

from x2v_quant.benchmarks.fidelity.layers import compare
from x2v_quant.benchmarks.fidelity.recording import EVERY, ROWS, Recorder
from x2v_quant.comparing.metrics import CEILING

pytestmark = pytest.mark.usefixtures("inference")
N, K = 48, 64


def layer(bias=True):
    generator = torch.Generator().manual_seed(0)
    made = torch.nn.Linear(K, N, bias)
    made.weight.copy_(torch.randn((N, K), generator=generator))
    if bias:
        made.bias.copy_(torch.randn(N, generator=generator))
    return made


@pytest.mark.parametrize("bias", [True, False])
def test_the_original_is_exact(bias):
    made = layer(bias)
    found = compare(made, made.weight, made.bias, torch.randn(10, K))
    assert found["weight_snr"] == CEILING
    assert found["output_snr"] > 90
    assert found["stored"] == "float32"


def test_a_weight_that_is_a_tenth_too_large_has_20_db():
    made = layer()
    found = compare(made, made.weight / 1.1, made.bias, torch.randn(10, K))
    assert found["weight_snr"] == pytest.approx(20, abs=1e-3)
    assert found["output_snr"] == pytest.approx(20, abs=1e-3)
    assert found["weight_noise"] == pytest.approx(found["weight_signal"] / 100, rel=1e-4)


def test_the_bias_is_no_signal_but_a_wrong_one_is_noise():
    made = layer()
    x, small = torch.randn(10, K), made.bias.clone()
    made.bias.mul_(1000)
    assert compare(made, made.weight / 1.1, made.bias, x)["output_snr"] == pytest.approx(20, abs=0.1)
    assert compare(made, made.weight, small, x)["output_snr"] < 0


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(K, N), torch.nn.Linear(N, K)

    def forward(self, x):
        return self.second(self.first(x))


@pytest.mark.parametrize("calls,seen", [(1, 1), (EVERY, 1), (EVERY + 1, 2), (3 * EVERY, 3)])
def test_some_rows_of_every_sixth_call_are_recorded(calls, seen):
    model, given = Model(), []
    with Recorder(model, ["first", "second"], rows=4) as recorder:
        for _ in range(calls):
            given.append(torch.randn(2, 9, K))
            model(given[-1])
    recorded = recorder.tensors()
    assert recorded["first"].shape == (4 * seen, K) and recorded["second"].shape == (4 * seen, N)
    allowed = torch.cat(given[::EVERY]).reshape(-1, K)
    assert all((row == allowed).all(dim=1).any() for row in recorded["first"])
    model(given[0])
    assert recorder.tensors()["first"].shape == (4 * seen, K)  # nothing is watched any more


def test_equal_rows_count_once_and_a_layer_has_a_limit():
    model = Model()
    with Recorder(model, ["first"], rows=8) as recorder:
        model(torch.zeros(1, 100, K))
    assert recorder.tensors()["first"].shape == (1, K)
    with Recorder(model, ["first"], rows=2 * ROWS) as recorder:
        model(torch.randn(3 * ROWS, K))
    assert recorder.tensors()["first"].shape == (ROWS, K)
