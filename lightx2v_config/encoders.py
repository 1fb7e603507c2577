"""Finds the files of the text encoder, the vision encoder and the tokenizer."""

from dataclasses import dataclass
from pathlib import Path

from ..checkpoints import Checkpoint, open_checkpoint
from ..schemes import CLIP, T5
from .config import Config
from .diffusion import Found
from .schemes import wanted_scheme
from .search_paths import DISTILLED, ORDINARY, SearchPaths, missing

DTYPES = ("int8", "fp8")


@dataclass(frozen=True)
class Encoder:
    """`component`: prefix of its keys. `words`: for messages. `kind`: ComfyUI's folder. `quantized`: file names without
    extension and with {dtype}; `original`: those of the 16-bit file."""

    component: str
    words: str
    kind: str
    quantized: tuple[str, ...]
    original: tuple[str, ...]


ENDINGS = (".pth", ".safetensors")
TEXT = Encoder(
    T5,
    "text encoder",
    "text_encoders",
    ("models_t5_umt5-xxl-enc-{dtype}",),
    ("models_t5_umt5-xxl-enc-bf16",),
)
_VISION = "models_clip_open-clip-xlm-roberta-large-vit-huge-14"
# "clip-fp8" is what older downloads called it
VISION = Encoder(CLIP, "vision encoder", "clip_vision", (f"{_VISION}-{{dtype}}", "clip-{dtype}"), (_VISION,))


def find_encoder(config: Config, paths: SearchPaths, encoder: Encoder) -> Found | None:
    """The encoder's file; None if it is missing. Raises ConfigError if a quantized one is asked for and missing."""
    quantized = config.quantized(encoder.component)
    key = f"{encoder.component}_{'quantized' if quantized else 'original'}_ckpt"
    path = paths.named(config, key, encoder.kind) or _search(paths, encoder, _names(config, encoder, quantized))
    if path is not None:
        return Found(path, open_checkpoint(path))
    if quantized:
        names = " or ".join(f"{name}.pth" for name in _names(config, encoder, True))
        remedy = f"Download {names}, name its file with {key}, or switch its loading off here."
        raise missing(config, f"quantized {encoder.words}", paths.words(encoder.kind), remedy)
    path = _search(paths, encoder, _names(config, encoder, True))
    if path is None:
        return None
    note = f"{path.name} is loaded, for there is no {encoder.original[0]}.pth in {paths.words(encoder.kind)}"
    return Found(path, open_checkpoint(path), note)


def _names(config: Config, encoder: Encoder, quantized: bool) -> list[str]:
    """File names without extension: for the dtype of the scheme, or for all dtypes if no scheme is set."""
    if not quantized:
        return list(encoder.original)
    wanted = wanted_scheme(config, encoder.component)[0].format
    dtypes = [dtype for dtype in DTYPES if wanted is None or wanted.startswith(dtype)]
    return [name.format(dtype=dtype) for dtype in dtypes for name in encoder.quantized]


def _search(paths: SearchPaths, encoder: Encoder, names: list[str]) -> Path | None:
    folders = [*paths.search((*DISTILLED, *ORDINARY)), *paths.comfyui.get(encoder.kind, [])]
    files = (folder / f"{name}{ending}" for folder in folders for name in names for ending in ENDINGS)
    return next((file for file in files if file.is_file()), None)


def takes_pictures(dit: Checkpoint) -> bool:
    """Whether the diffusion model takes the vision encoder's output (Wan 2.1 image to video)."""
    return any("img_emb.proj." in key for key in dit.tensors)


def find_tokenizer_folder(config: Config, paths: SearchPaths) -> Path | None:
    """The tokenizer's folder; None leaves the search to the text encoder's loader (in the file, then beside it)."""
    path = paths.named(config, "t5_tokenizer_path", TEXT.kind)
    if path is not None or paths.folder is None:
        return path
    folder = paths.folder / "google" / "umt5-xxl"
    return folder if folder.is_dir() else None
