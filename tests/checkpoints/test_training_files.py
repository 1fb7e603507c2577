"""What a training run saves: the one model in it, or the average of its weights."""

import argparse
import sys
import types
import uuid
from collections import OrderedDict, defaultdict
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy
import pytest
import torch

from x2v_quant.checkpoints import CheckpointError, open_checkpoint, torch_file


def zeroed(tensors):
    return {key: torch.zeros_like(tensor) for key, tensor in tensors.items()}


TRAINING = {
    "an average": lambda t: {"generator_ema": t, "step": 5},
    "beside an optimizer": lambda t: {
        "model": t,
        "optimizer": {"state": {0: {"step": torch.ones(()), "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
    },
    "moments by name": lambda t: {"model": t, "optimizer": {"exp_avg": zeroed(t), "exp_avg_sq": zeroed(t)}},
    "of model and average": lambda t: {"model": zeroed(t), "ema": t},
    "of three": lambda t: {"generator": zeroed(t), "critic": zeroed(t), "generator_ema": t, "step": torch.tensor(5)},
    "module": lambda t: {"module": t, "dp_world_size": 8, "ds_config": {}},
    "twice": lambda t: {"checkpoint": {"model": t}},
    "twice, with an average": lambda t: {"checkpoint": {"model": zeroed(t), "ema": {"shadow": t}, "it": [1, 2]}},
    "ordered": lambda t: OrderedDict(state_dict=OrderedDict(t), version=1),
    "in a list": lambda t: [t, {"lr": 0.1}],
    "lists inside": lambda t: {"models": [t], "losses": [torch.zeros(2)]},
    "numbers of numpy": lambda t: {"model": t, "loss": numpy.float64(0.5), "epoch": numpy.int64(3)},
    "arrays of numpy": lambda t: {"model": t, "rng": {"numpy": ("MT19937", numpy.arange(9, dtype=numpy.uint32), 3)}},
    "arguments": lambda t: {"model": t, "args": argparse.Namespace(lr=0.1, path=Path("x"))},
    "wrapped": lambda t: {"model": {f"module.{key}": tensor for key, tensor in t.items()}, "epoch": 3},
    "other tables": lambda t: {"model": t, "discriminator": {"conv.weight": torch.zeros(3)}},
    "parameters": lambda t: {"params_ema": t},
    "in a callback": lambda t: {
        "state_dict": zeroed(t),
        "callbacks": {"ModelCheckpoint": {"best": torch.ones(())}, "EMACallback": {"ema_state_dict": t}},
    },
    "callbacks of nothing": lambda t: {"state_dict": t, "callbacks": {"Best": {"model": zeroed(t)}}},
    "tables with defaults": lambda t: {"model": t, "optimizer": {"state": defaultdict(dict, {0: {"step": 1}})}},
    "a table with defaults": lambda t: defaultdict(list, {"model": t, "losses": [0.5]}),
    "classes and ranges": lambda t: {
        "model": t,
        "types": [int, dict],
        "r": range(3),
        "s": slice(1),
        "f": frozenset([1]),
    },
    "dates and names": lambda t: {"model": t, "day": date(2026, 1, 1), "run": uuid.UUID(int=7), "loss": Decimal("0.5")},
    "beside the model itself": lambda t: {**t, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
}


@pytest.mark.parametrize("make", TRAINING.values(), ids=TRAINING)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_the_one_model_of_a_training_file_is_read(make, zipped, wan, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(make(wan()), path, _use_new_zipfile_serialization=zipped)
    checkpoint = open_checkpoint(path)
    checkpoint.require("dit")
    weights = checkpoint.load(lambda path: pytest.fail("core's reader takes something else of it"))
    for layer, stored in weights.quantized.items():
        assert torch.equal(stored.tensors["codes"], wan()[f"{layer}.weight"])
    assert all(torch.equal(tensor, wan()[name]) for name, tensor in weights.plain.items())


def test_that_an_average_is_taken_is_said(wan, write):
    notes = open_checkpoint(write({"model": zeroed(wan()), "ema": wan(), "optimizer": {}}, "model.pth")).notes
    assert notes == [
        "of several copies (model (Wan 2.1 t2v), ema (Wan 2.1 t2v)) the average of the weights is read: ema",
        "beside the model, 'model' of the file are not read",
    ]


@pytest.mark.parametrize("name", [name for name in torch_file.TABLES if "collections" not in name])
def test_tables_of_trainers_are_plain_ones(name, wan, write, monkeypatch):
    """Theirs are dicts with another name, of packages that nobody needs to have."""
    module, _, own = name.rpartition(".")
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        part = ".".join(parts[:count])
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    of = type(own, (dict,), {"__module__": module})
    setattr(sys.modules[module], own, of)
    path = write({"state_dict": wan(), "hyper_parameters": of(lr=0.1), "nested": of(inner=of(x=1))}, "model.ckpt")
    open_checkpoint(path).require("dit")


def test_of_several_models_the_candidates_are_listed(wan, write):
    path = write({"generator": wan(), "critic": wan()}, "model.pth")
    with pytest.raises(CheckpointError, match=r"generator \(Wan 2\.1 t2v\), critic \(Wan 2\.1 t2v\)\. Save the one"):
        open_checkpoint(path)


def test_tables_of_no_known_model_are_listed(write):
    with pytest.raises(CheckpointError, match=r"a \(no model that is known here\), b \(no model"):
        open_checkpoint(write({"a": {"x": torch.zeros(3)}, "b": {"y": torch.zeros(3)}}, "model.pth"))
