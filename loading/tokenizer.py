"""Finds the umt5 tokenizer, which LightX2V's .pth files do not contain."""

from pathlib import Path

import sentencepiece
import torch

from ..checkpoints import CheckpointError, open_checkpoint

SPIECE = "spiece.model"
# its paths in LightX2V's model folders and in users' folders; relative to the checkpoint's folder and its parent
BESIDE = (Path("google/umt5-xxl") / SPIECE, Path("umt5-xxl") / SPIECE, Path(SPIECE))

COMFYUIS = "umt5_xxl_fp8_e4m3fn_scaled.safetensors"

# least share of the embedding's rows that have a piece: a few rows are spare, another T5's tokenizer has an eighth
SMALLEST_SHARE = 0.5


def find_tokenizer(
    checkpoint: Path, own: torch.Tensor | None, picked: str | None, vocab_size: int
) -> tuple[torch.Tensor, list[str]]:
    """(sentencepiece model as uint8 bytes, notes). Taken from the file or folder `picked` by the user; else from the
    checkpoint (`own`); else, or if that is unusable, from beside the checkpoint.

    Raises CheckpointError if there is none, or if it does not fit an embedding of `vocab_size` rows.
    """
    if picked is not None:
        return _checked(_read(Path(picked)), Path(picked), vocab_size), []
    fault = None if own is None else _fault(own, vocab_size)
    if own is not None and fault is None:
        return own, []
    source = _beside(checkpoint)
    if source is None:
        found = "no tokenizer" if fault is None else f"a tokenizer that {fault}"
        raise CheckpointError(
            f"{checkpoint.name} has {found}. Download {SPIECE} of google/umt5-xxl and save it as "
            f"{checkpoint.parent / SPIECE}, or load ComfyUI's {COMFYUIS}, which has one."
        )
    notes = [] if fault is None else [f"its own tokenizer {fault}: {source.name} beside it is used in its place"]
    return _checked(_read(source), source, vocab_size), notes


def _beside(checkpoint: Path) -> Path | None:
    places = [folder / name for folder in (checkpoint.parent, checkpoint.parent.parent) for name in BESIDE]
    return next((place for place in places if place.is_file()), None)


def _read(source: Path) -> torch.Tensor:
    if source.is_dir():
        source = source / SPIECE
    if source.suffix in (".safetensors", ".sft"):
        spiece = open_checkpoint(source).load().spiece_model
        if spiece is None:
            raise CheckpointError(f"{source.name} has no tokenizer (key spiece_model). Pick another file.")
        return spiece
    if not source.is_file():
        raise CheckpointError(f"There is no tokenizer at {source}. Pick a spiece.model file or a folder that has one.")
    return torch.frombuffer(bytearray(source.read_bytes()), dtype=torch.uint8)


def _checked(spiece: torch.Tensor, source: Path, vocab_size: int) -> torch.Tensor:
    fault = _fault(spiece, vocab_size)
    if fault is not None:
        raise CheckpointError(f"The tokenizer in {source.name} {fault}. Use {SPIECE} of google/umt5-xxl.")
    return spiece


def _fault(spiece: torch.Tensor, vocab_size: int) -> str | None:
    """Why a sentencepiece model cannot be used, None if it can."""
    data = spiece.contiguous().view(torch.uint8).numpy().tobytes()
    if not data:
        return "is empty"
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_proto=data).get_piece_size()
    except RuntimeError:
        return "is no sentencepiece model"
    if not SMALLEST_SHARE * vocab_size <= pieces <= vocab_size:
        return f"has {pieces} pieces, and the text encoder's embedding {vocab_size} rows: they do not belong together"
    return None
