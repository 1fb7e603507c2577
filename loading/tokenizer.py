"""Where the umt5 tokenizer comes from: LightX2V's .pth files do not carry one."""

from pathlib import Path

import sentencepiece
import torch

from ..checkpoints import CheckpointError, open_checkpoint

SPIECE = "spiece.model"
# where LightX2V's model folders keep it, and where users drop it; relative to the checkpoint's folder and its parent
BESIDE = (Path("google/umt5-xxl") / SPIECE, Path("umt5-xxl") / SPIECE, Path(SPIECE))

# an embedding has a few rows to spare; another T5's tokenizer has an eighth of umt5's pieces
SMALLEST_SHARE = 0.5


def find_tokenizer(checkpoint: Path, own: torch.Tensor | None, picked: str | None, vocab_size: int) -> torch.Tensor:
    """The sentencepiece model as uint8 bytes: the checkpoint's own, the file or folder the user picked, or one beside
    the checkpoint. Raises CheckpointError if there is none, or if it is for another vocabulary than the embedding's
    `vocab_size` rows."""
    if own is not None:
        return _checked(own, checkpoint, vocab_size)
    source = Path(picked) if picked is not None else _beside(checkpoint)
    if source is None:
        raise CheckpointError(
            f"{checkpoint.name} carries no tokenizer and none lies beside it. Download spiece.model of google/umt5-xxl "
            f"and save it as {checkpoint.parent / BESIDE[0]}, or pick a file that has one as the node's tokenizer."
        )
    return _checked(_read(source), source, vocab_size)


def _beside(checkpoint: Path) -> Path | None:
    places = [folder / name for folder in (checkpoint.parent, checkpoint.parent.parent) for name in BESIDE]
    return next((place for place in places if place.is_file()), None)


def _read(source: Path) -> torch.Tensor:
    if source.is_dir():
        source = source / SPIECE
    if source.suffix in (".safetensors", ".sft"):
        spiece = open_checkpoint(source).load().spiece_model
        if spiece is None:
            raise CheckpointError(f"{source.name} carries no tokenizer (key spiece_model). Pick another file.")
        return spiece
    if not source.is_file():
        raise CheckpointError(f"There is no tokenizer at {source}. Pick a spiece.model file or a folder that has one.")
    return torch.frombuffer(bytearray(source.read_bytes()), dtype=torch.uint8)


def _checked(spiece: torch.Tensor, source: Path, vocab_size: int) -> torch.Tensor:
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_proto=spiece.numpy().tobytes()).get_piece_size()
    except RuntimeError as error:
        raise CheckpointError(
            f"{source.name} is no sentencepiece model. Download {SPIECE} of google/umt5-xxl again."
        ) from error
    if not SMALLEST_SHARE * vocab_size <= pieces <= vocab_size:
        raise CheckpointError(
            f"The tokenizer in {source.name} has {pieces} pieces, the text encoder's embedding {vocab_size} rows: "
            f"they do not belong together. Use {SPIECE} of google/umt5-xxl."
        )
    return spiece
