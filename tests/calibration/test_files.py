"""The file of a calibration: tokens, which layers share them, what is read when, and files that are damaged."""

import json

import pytest
import safetensors
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from x2v_quant.calibration import Calibration, CalibrationError
from x2v_quant.calibration.files import FORMAT
from x2v_quant.calibration.shared_samples import SharedSamples
from x2v_quant.common.resident_memory import peak, reset_peak

Q, K, V, FFN = "blocks.0.self_attn.q", "blocks.0.self_attn.k", "blocks.0.self_attn.v", "blocks.0.ffn.0"
HEADER = {"format": FORMAT, "calls": "1"}


def tokens(seed, count=30, width=8, dtype=torch.bfloat16):
    return torch.randn((count, width), generator=torch.Generator().manual_seed(seed)).to(dtype)


def recorded(inputs, limit=64):
    """inputs: layer -> [M, K], of one call."""
    result, samples = Calibration(calls=1), SharedSamples(limit)
    for layer, x in inputs.items():
        x32 = x.float()
        result.add(layer, x32.abs().amax(0), x32.square().sum(0), len(x))
        result.inputs[layer] = samples.add(None, x)
    return result


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calibration.safetensors"


@pytest.fixture
def calibration():
    return recorded({Q: tokens(1), K: tokens(1), FFN: tokens(2, width=6, dtype=torch.float16), V: tokens(1)})


def test_saved_and_loaded_the_inputs_are_the_same(calibration, path):
    calibration.save(path)
    loaded = Calibration.load(path)
    assert loaded.inputs.keys() == calibration.inputs.keys()
    for layer in calibration.inputs:
        expected = calibration.inputs_of(layer)
        assert loaded.inputs_of(layer).dtype == expected.dtype
        assert torch.equal(loaded.inputs_of(layer), expected)
        assert tuple(loaded.inputs[layer].shape) == tuple(expected.shape)
    torch.testing.assert_close(loaded.mean_squares(FFN), calibration.squares[FFN] / 30)


def test_saved_twice_it_is_the_same_file(calibration, path):
    calibration.save(path)
    again = path.with_name("again.safetensors")
    Calibration.load(path).save(again)
    for each in (path, again):
        with safetensors.safe_open(each, framework="pt") as file:
            assert json.loads(file.metadata()["shared_inputs"]) == {K: Q, V: Q}
            assert {name for name in file.keys() if name.endswith(".inputs")} == {f"{Q}.inputs", f"{FFN}.inputs"}  # noqa: SIM118
    assert path.stat().st_size == again.stat().st_size


def test_layers_with_the_same_inputs_have_one_key(calibration, path):
    calibration.save(path)
    for each in (calibration, Calibration.load(path), calibration.on_cpu(), calibration.snapshot()):
        assert [each.same_inputs(layer) for layer in (Q, K, V, FFN)] == [Q, Q, Q, FFN]
        assert each.same_inputs("never called") == "never called"
        assert each.inputs_of("never called") is None


def test_tensors_are_inputs_as_well(path):
    x = tokens(1)
    calibration = Calibration({Q: torch.ones(8), K: torch.ones(8)}, inputs={Q: x, K: x}, calls=1)
    assert calibration.inputs_of(K) is x
    calibration.save(path)
    loaded = Calibration.load(path)
    assert torch.equal(loaded.inputs_of(K), x)
    assert loaded.same_inputs(K) == Q


def test_a_layer_that_saw_nothing_but_one_token(path):
    recorded({Q: tokens(1, count=1, width=1)}).save(path)
    assert torch.equal(Calibration.load(path).inputs_of(Q), tokens(1, count=1, width=1))


def test_files_without_inputs_stay_readable(path):
    save_file({"x.maxima": torch.ones(3)}, path, HEADER)
    loaded = Calibration.load(path)
    assert loaded.inputs == {}
    assert loaded.inputs_of("x") is None


def test_what_reads_names_of_the_statistics_alone_reads_new_files(calibration, path):
    """Releases before there were inputs look for names that end so, and for the format."""
    calibration.save(path)
    with safetensors.safe_open(path, framework="pt") as file:
        assert file.metadata()["format"] == "x2v-quant calibration 1"
        assert torch.equal(file.get_tensor(f"{Q}.maxima"), calibration.maxima[Q])
        assert int(file.get_tensor(f"{Q}.tokens")) == 30


def test_loading_and_saving_take_no_memory_for_all_the_inputs(path):
    """40 layers of 5 MB each: one of them may be in memory, and pages of the file that the system may drop."""
    size, count = 2**21 + 2**19, 40
    calibration = Calibration(calls=1)
    for layer in map(str, range(count)):
        calibration.maxima[layer] = torch.ones(1024)
        calibration.inputs[layer] = torch.ones((size // 1024, 1024), dtype=torch.bfloat16)
    reset_peak()
    before = peak()
    calibration.save(path)
    loaded = Calibration.load(path)
    assert peak() - before < 6 * size * 2
    assert len(loaded.inputs) == count
    del calibration
    assert float(loaded.inputs_of("3").float().sum()) == size


def damaged(inputs=None, shared="{}", **others):
    given = {"x.maxima": torch.ones(3), **others}
    return given if inputs is None else {**given, "x.inputs": inputs}, {**HEADER, "shared_inputs": shared}


WRONG = ("float32", "width", "flat", "missing", "alias", "alias-missing", "alias-width", "json", "number", "list")
WRONG += ("text", "names")


@pytest.mark.parametrize(
    "content,words",
    [
        (damaged(torch.ones((2, 3))), r"x has inputs of shape \[2, 3\] that are not 16-bit rows of 3 channels"),
        (damaged(tokens(1, 2, 4)), r"x has inputs of shape \[2, 4\] that are not 16-bit rows of 3 channels"),
        (damaged(tokens(1, 2, 3).flatten()), r"x has inputs of shape \[6\] that are not 16-bit rows of 3 channels"),
        (damaged(**{"y.inputs": tokens(1, 2, 3)}), "inputs are there of layer y, which has no maxima"),
        (damaged(shared='{"x": "y"}'), "x shares the inputs of a layer that has none"),
        (damaged(tokens(1, 2, 3), '{"y": "x"}'), "inputs are there of layer y, which has no maxima"),
        (
            damaged(tokens(1, 2, 3), '{"y": "x"}', **{"y.maxima": torch.ones(4)}),
            r"y has inputs of shape \[2, 3\] that are not 16-bit rows of 4 channels",
        ),
        *(
            (damaged(tokens(1, 2, 3), text), "which layers share inputs cannot be read in its metadata")
            for text in ("{", "3", '{"x": []}', '"x"', '["x"]')
        ),
    ],
    ids=WRONG,
)
def test_a_damaged_file_is_refused(content, words, path):
    save_file(content[0], path, content[1])
    with pytest.raises(CalibrationError, match=rf"calibration\.safetensors: {words}\. The file is damaged: save it"):
        Calibration.load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_inputs_that_are_not_finite_are_refused_when_read(value, path):
    x = tokens(1)
    x[3, 4] = value
    Calibration({Q: torch.ones(8)}, inputs={Q: x}, calls=1).save(path)
    with pytest.raises(CalibrationError, match=rf"calibration\.safetensors: inputs of {Q} are infinite or not num"):
        Calibration.load(path).inputs_of(Q)


def test_a_file_that_went_away_is_named(calibration, path):
    calibration.save(path)
    loaded = Calibration.load(path)
    path.unlink()
    with pytest.raises(CalibrationError, match=r"calibration\.safetensors is gone, or another file "):
        loaded.inputs_of(Q)


def test_a_file_in_whose_place_is_another_is_named(calibration, path):
    calibration.save(path)
    loaded = Calibration.load(path)
    recorded({Q: tokens(5, count=3)}).save(path)
    with pytest.raises(CalibrationError, match=r"or another file was saved in its place\. Load it again"):
        loaded.inputs_of(Q)
    with pytest.raises(CalibrationError, match=r"is gone, or another file than"):
        loaded.inputs_of(FFN)


def statistics(**changed):
    """A sound calibration of the layer x, 3 channels wide, with some of its tensors changed."""
    sound = {"x.maxima": torch.ones(3), "x.squares": torch.ones(3), "x.tokens": torch.tensor(5)}
    return sound | {f"x.{end}": tensor for end, tensor in changed.items()}


NAN = torch.tensor([1.0, float("nan"), 1.0])
NEGATIVE = torch.tensor([1.0, -1e-3, 1.0])
NO_STATISTICS = {
    "NaN maxima": (statistics(maxima=NAN), r"x\.maxima has a value that is negative or not a number"),
    "negative maxima": (statistics(maxima=NEGATIVE), r"x\.maxima has a value that is negative or not a number"),
    "NaN squares": (statistics(squares=NAN), r"x\.squares has a value that is negative or not a number"),
    "negative squares": (statistics(squares=NEGATIVE), r"x\.squares has a value that is negative or not a number"),
    "maxima of integers": (statistics(maxima=torch.ones(3).int()), r"x\.maxima is int32, not floating-point numbers"),
    "float8": (statistics(maxima=torch.ones(3).to(torch.float8_e4m3fn)), r"x\.maxima is float8_e4m3fn, not floating"),
    "two tokens": (statistics(tokens=torch.tensor([1, 2])), r"x\.tokens is int64 of shape \[2\], not one whole number"),
    "no tokens": (
        statistics(tokens=torch.tensor([]).long()),
        r"x\.tokens is int64 of shape \[0\], not one whole number",
    ),
    "half a token": (statistics(tokens=torch.tensor(0.5)), r"x\.tokens is float32 of shape \[\], not one whole number"),
    "NaN tokens": (statistics(tokens=torch.tensor(float("nan"))), r"x\.tokens is float32"),
    "zero tokens": (statistics(tokens=torch.tensor(0)), r"x\.tokens is 0, which is no number of tokens"),
    "negative tokens": (statistics(tokens=torch.tensor(-3)), r"x\.tokens is -3, which is no number of tokens"),
    "squares of another layer": (
        {"y.squares": torch.ones(3), "y.tokens": torch.tensor(1)},
        r"y\.squares is there of layer y, which has no maxima",
    ),
}


@pytest.mark.parametrize("tensors,words", NO_STATISTICS.values(), ids=NO_STATISTICS)
def test_statistics_that_are_none_are_refused_by_name(tensors, words, path):
    save_file(tensors, path, HEADER)
    with pytest.raises(
        CalibrationError, match=rf"calibration\.safetensors: {words}.*The file is damaged: save it again"
    ):
        Calibration.load(path)


METADATA = {
    "deep": {"shared_inputs": "[" * 100_000},
    "deep tables": {"shared_inputs": '{"a":' * 100_000},
    "calls of 5000 digits": {"calls": "9" * 5000},
    "calls in other digits": {"calls": "\u0663"},
    "no calls": {"calls": ""},
}


@pytest.mark.parametrize("metadata", METADATA.values(), ids=METADATA)
def test_metadata_that_cannot_be_read_is_refused(metadata, path):
    save_file(statistics(), path, {**HEADER, **metadata})
    with pytest.raises(CalibrationError, match=r"^calibration\.safetensors"):
        Calibration.load(path)


DTYPES = [
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]
DTYPES += [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64, torch.uint16]
NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 2.0, 1e30, float("inf"), float("-inf"), float("nan")])
ANY = st.builds(
    lambda value, shape, dtype: torch.full(shape, value, dtype=torch.float64).to(dtype),
    NUMBERS,
    st.sampled_from([(), (0,), (1,), (3,), (4,), (3, 1), (2, 3), (1, 1, 3)]),
    st.sampled_from(DTYPES),
)
NAMES = [f"{layer}.{end}" for layer in "xy" for end in ("maxima", "squares", "tokens", "inputs", "z")]
TEXTS = st.text(max_size=6) | st.sampled_from(['{"y": "x"}', "[[1, 2]]", "null", "12", "1e3", "[" * 9000])


def judged(path):
    """A calibration that loads gives finite or infinite numbers of at least 0, any other file a sentence."""
    try:
        calibration = Calibration.load(path)
    except CalibrationError as error:
        assert str(error).isprintable() and path.name in str(error)
        return
    for layer in calibration.maxima:
        assert bool((calibration.mean_squares(layer) >= 0).all())
        assert layer not in calibration.inputs or calibration.inputs[layer].shape[1] == len(calibration.maxima[layer])
    assert calibration.about


@settings(max_examples=200, deadline=None)
@given(
    changed=st.dictionaries(st.sampled_from(NAMES), ANY, max_size=4),
    metadata=st.dictionaries(st.sampled_from(["format", "calls", "shared_inputs"]), TEXTS, max_size=2),
)
def test_any_tensors_and_metadata_load_or_are_refused_in_a_sentence(changed, metadata, tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "calibration.safetensors"
    save_file({**statistics(inputs=tokens(1, 2, 3)), **changed}, path, {**HEADER, **metadata})
    judged(path)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_bytes_of_the_header_load_or_are_refused_in_a_sentence(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("bytes") / "calibration.safetensors"
    save_file(statistics(inputs=tokens(1, 2, 3)), path, {**HEADER, "shared_inputs": "{}"})
    content = bytearray(path.read_bytes())
    length = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        letter = data.draw(st.integers(0, 255) | st.sampled_from(list(b'0189{}[]",:')))
        content[data.draw(st.integers(0, length - 1))] = letter
    path.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    judged(path)
