"""When layers are seen: once in each wanted step, however often the model is called in it."""

from collections import Counter

import pytest
import torch

pytestmark = pytest.mark.usefixtures("inference")


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize("wanted", [(0, 2, 3), (1,), ()])
def test_each_layer_once_in_each_step(dense, job, sampler, wanted):
    from x2v_quant.comparing.watch import Watch
    from x2v_quant.linear.layers import linear_layers

    seen = Counter()
    layers = linear_layers(dense.model.diffusion_model)

    def see(step, name, layer, x):
        assert layer is layers[name] and x.shape[-1] == layer.in_features
        seen[step, name] += 1

    job(sampler_name=sampler).sample(dense, Watch(wanted, see), lambda *_: None)
    assert set(seen) == {(step, name) for step in wanted for name in layers}
    assert set(seen.values()) <= {1}


def test_a_step_sees_its_own_time(dense, job):
    """The time embedding's input is another one in each step, and the same in a second run."""
    from x2v_quant.comparing.watch import Watch

    def run():
        times = {}

        def see(step, name, layer, x):
            if name == "time_embedding.0":
                times[step] = x.clone()

        job().sample(dense, Watch(range(4), see), lambda *_: None)
        return times

    first, second = run(), run()
    assert list(first) == [0, 1, 2, 3]
    assert all(torch.equal(first[step], second[step]) for step in first)
    assert not any(torch.equal(first[step], first[step + 1]) for step in range(3))


def test_names_are_those_of_the_model_that_is_not_compiled():
    from x2v_quant.linear.layers import linear_layers

    model = torch.nn.Module()
    model.block = torch.compile(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Conv1d(4, 4, 1)))
    assert list(linear_layers(model)) == ["block.0"]
