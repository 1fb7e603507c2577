"""The tokenizer of Load Quantized T5: in the file, beside it, or picked; and what is told if it is none of these."""

import io

import pytest
import sentencepiece
import torch

from x2v_quant.benchmarks import encoders
from x2v_quant.benchmarks.quantize import quantized
from x2v_quant.checkpoints import CheckpointError
from x2v_quant.loading.t5 import load_t5

pytestmark = pytest.mark.usefixtures("inference")


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    """A LightX2V model folder with an int8 text encoder, and the tokenizer where LightX2V keeps it."""
    folder = tmp_path_factory.mktemp("t5")
    (folder / "google" / "umt5-xxl").mkdir(parents=True)
    spiece = encoders.spiece_model(1)
    (folder / "google" / "umt5-xxl" / "spiece.model").write_bytes(spiece)
    dense = encoders.umt5(1, encoders.pieces(spiece), 64)
    torch.save(quantized(dense, "int8", "t5"), folder / "models_t5_umt5-xxl-enc-int8.pth")
    return folder


def encoder(t5, tmp_path):
    """A copy of the text encoder, without a tokenizer beside it."""
    target = tmp_path / "models_t5_umt5-xxl-enc-int8.pth"
    target.write_bytes((t5 / target.name).read_bytes())
    return target


def test_one_that_is_missing_says_where_to_get_and_put_it(t5, tmp_path):
    (tmp_path / "deep").mkdir()
    path = encoder(t5, tmp_path / "deep")
    with pytest.raises(CheckpointError) as error:
        load_t5(str(path))
    assert "spiece.model of google/umt5-xxl" in str(error.value)
    assert str(path.parent / "spiece.model") in str(error.value)


@pytest.mark.parametrize("as_folder", [False, True])
def test_one_picked_by_the_user(as_folder, t5, tmp_path):
    (tmp_path / "model").mkdir()
    path = encoder(t5, tmp_path / "model")
    place = t5 / "google" / "umt5-xxl"
    clip = load_t5(str(path), tokenizer=str(place if as_folder else place / "spiece.model"))
    assert clip.tokenize("a boat")


def test_one_of_another_model_is_refused(t5, tmp_path):
    other = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["one two three four"] * 20), model_writer=other, vocab_size=15, minloglevel=2
    )
    (tmp_path / "spiece.model").write_bytes(other.getvalue())
    with pytest.raises(CheckpointError, match=r"has 15 pieces, and the text encoder's embedding \d+ rows"):
        load_t5(str(encoder(t5, tmp_path)))


@pytest.mark.parametrize("own", [b"", b"<html>not found</html>"], ids=["empty", "garbage"])
@pytest.mark.parametrize("where", ["picked", "beside", "nowhere"])
def test_a_broken_one_in_the_file(own, where, t5, tmp_path, caplog):
    """The user's pick wins; one beside the file stands in, aloud; else it is said what to do."""
    path = encoder(t5, tmp_path)
    torch.save({**torch.load(path), "spiece_model": torch.tensor(list(own), dtype=torch.uint8)}, path)
    good = t5 / "google" / "umt5-xxl" / "spiece.model"
    if where == "nowhere":
        with pytest.raises(CheckpointError, match=r"has a tokenizer that is .*\. Download"):
            load_t5(str(path))
        return
    if where == "beside":
        (tmp_path / "spiece.model").write_bytes(good.read_bytes())
    clip = load_t5(str(path), tokenizer=str(good) if where == "picked" else None)
    assert clip.tokenize("a boat")
    words = "its own tokenizer is"
    assert any(words in note for note in clip.cond_stage_model.x2v_plan.notes) == (where == "beside")
    assert (words in caplog.text) == (where == "beside")


def test_the_picked_one_goes_before_the_files_own(t5, tmp_path):
    path, broken = encoder(t5, tmp_path), tmp_path / "broken.model"
    good = (t5 / "google" / "umt5-xxl" / "spiece.model").read_bytes()
    torch.save({**torch.load(path), "spiece_model": torch.tensor(list(good), dtype=torch.uint8)}, path)
    broken.write_bytes(b"<html>not found</html>")
    with pytest.raises(CheckpointError, match=r"The tokenizer in broken\.model is no sentencepiece model"):
        load_t5(str(path), tokenizer=str(broken))


def test_what_is_no_tokenizer_is_refused(t5, tmp_path):
    (tmp_path / "spiece.model").write_bytes(b"<html>not found</html>")
    with pytest.raises(CheckpointError, match="no sentencepiece model"):
        load_t5(str(encoder(t5, tmp_path)))
