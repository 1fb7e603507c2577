"""NVIDIA's GPUs by name, with the numbers that NVIDIA publishes of them."""

import difflib
import re
from dataclasses import dataclass, replace

from .errors import AdviceError

GIB = 1024**3
NEAR = 4
# what may stand before a name, in torch's names too
BEFORE = re.compile(r"\b(nvidia|geforce)\b|[()]")
MEMORY = re.compile(r"\s*\b(\d+(?:\.\d+)?)\s*gi?b\b\s*")
CAPABILITY = re.compile(r"(?:sm_?)?(\d+)\.(\d)")


@dataclass(frozen=True)
class Gpu:
    """`gb`: memory in GB of 1024^3 bytes, as on its box. `bandwidth`: GB/s of its memory. The others: TFLOPS of dense
    matrix products, 0 for a type that it does not multiply; fp16 and fp8 with float32 sums, as this pack's kernels add
    them up. `stands_in`: its speed is that of another GPU of its compute capability."""

    name: str
    capability: tuple[int, int]
    gb: float
    bandwidth: float
    fp16: float
    int8: float
    fp8: float = 0
    nvfp4: float = 0
    stands_in: str = ""

    @property
    def vram(self) -> int:
        """Bytes."""
        return int(self.gb * GIB)


# after NVIDIA's data sheets and architecture papers, without sparsity; those of the 3090, 4090, 5090 and H200 were
# compared with a second source, the others were not yet
GPUS = (
    Gpu("Tesla T4", (7, 5), 16, 320, 65, 130),
    Gpu("RTX 2060", (7, 5), 6, 336, 25.8, 103),
    Gpu("RTX 2060 Super", (7, 5), 8, 448, 28.7, 115),
    Gpu("RTX 2070", (7, 5), 8, 448, 29.9, 119),
    Gpu("RTX 2070 Super", (7, 5), 8, 448, 36.3, 145),
    Gpu("RTX 2080", (7, 5), 8, 448, 40.3, 161),
    Gpu("RTX 2080 Super", (7, 5), 8, 496, 44.6, 178),
    Gpu("RTX 2080 Ti", (7, 5), 11, 616, 53.8, 215),
    Gpu("A100", (8, 0), 40, 1555, 312, 624),
    Gpu("A100", (8, 0), 80, 2039, 312, 624),
    Gpu("RTX 3050", (8, 6), 8, 224, 18.2, 72.8),
    Gpu("RTX 3060", (8, 6), 12, 360, 25.5, 102),
    Gpu("RTX 3060 Ti", (8, 6), 8, 448, 32.4, 130),
    Gpu("RTX 3070", (8, 6), 8, 448, 40.6, 163),
    Gpu("RTX 3070 Ti", (8, 6), 8, 608, 43.5, 174),
    Gpu("RTX 3080", (8, 6), 10, 760, 59.5, 238),
    Gpu("RTX 3080", (8, 6), 12, 912, 61.3, 245),
    Gpu("RTX 3080 Ti", (8, 6), 12, 912, 68.2, 273),
    Gpu("RTX 3090", (8, 6), 24, 936, 71, 284),
    Gpu("RTX 3090 Ti", (8, 6), 24, 1008, 80, 320),
    Gpu("A10", (8, 6), 24, 600, 125, 250),
    Gpu("A40", (8, 6), 48, 696, 150, 299),
    Gpu("RTX A6000", (8, 6), 48, 768, 155, 310),
    Gpu("RTX 4060", (8, 9), 8, 272, 30.2, 121, 60.5),
    Gpu("RTX 4060 Ti", (8, 9), 8, 288, 44.1, 177, 88.3),
    Gpu("RTX 4060 Ti", (8, 9), 16, 288, 44.1, 177, 88.3),
    Gpu("RTX 4070", (8, 9), 12, 504, 58.3, 233, 117),
    Gpu("RTX 4070 Super", (8, 9), 12, 504, 71, 284, 142),
    Gpu("RTX 4070 Ti", (8, 9), 12, 504, 80.2, 321, 160),
    Gpu("RTX 4070 Ti Super", (8, 9), 16, 672, 88.2, 353, 176),
    Gpu("RTX 4080", (8, 9), 16, 717, 97.5, 390, 195),
    Gpu("RTX 4080 Super", (8, 9), 16, 736, 104, 418, 209),
    Gpu("RTX 4090", (8, 9), 24, 1008, 165, 661, 330),
    Gpu("L4", (8, 9), 24, 300, 121, 242, 242),
    Gpu("L40S", (8, 9), 48, 864, 362, 733, 733),
    Gpu("RTX 6000 Ada", (8, 9), 48, 960, 364, 728, 728),
    Gpu("H100", (9, 0), 80, 3350, 989, 1979, 1979),
    Gpu("H100 PCIe", (9, 0), 80, 2000, 756, 1513, 1513),
    Gpu("H200", (9, 0), 141, 4800, 989, 1979, 1979),
    Gpu("B200", (10, 0), 180, 8000, 2250, 4500, 4500, 9000),
    Gpu("RTX 5060", (12, 0), 8, 448, 38.4, 154, 76.8, 307),
    Gpu("RTX 5060 Ti", (12, 0), 8, 448, 47.4, 190, 94.9, 380),
    Gpu("RTX 5060 Ti", (12, 0), 16, 448, 47.4, 190, 94.9, 380),
    Gpu("RTX 5070", (12, 0), 12, 672, 61.7, 247, 123, 494),
    Gpu("RTX 5070 Ti", (12, 0), 16, 896, 87.9, 352, 176, 703),
    Gpu("RTX 5080", (12, 0), 16, 960, 113, 450, 225, 900),
    Gpu("RTX 5090", (12, 0), 32, 1792, 209, 838, 419, 1676),
    Gpu("RTX PRO 6000", (12, 0), 96, 1792, 504, 1008, 1008, 2015),
)
HOW = 'Or give compute capability and VRAM, like --gpu "8.6 12GB".'


def named(text: str) -> Gpu:
    """What a person calls a GPU ("RTX 3060 12GB", "4090", "8.6 12GB") -> its row, with the memory that was given. Of a
    card that was sold with several sizes, the smallest. Raises AdviceError, which lists near names."""
    words = _plain(text)
    found = MEMORY.search(words)
    gb = float(found[1]) if found else None
    name = _joined(MEMORY.sub(" ", words))
    capability = CAPABILITY.fullmatch(name)
    if capability and gb:
        return of_capability(text, (int(capability[1]), int(capability[2])), gb)
    rows = _rows(name)
    if not rows or gb == 0:
        raise AdviceError(f"No GPU {text!r} in the table.{_near(name)} {HOW}")
    row = next((row for row in rows if row.gb == gb), rows[0])
    return row if gb is None else replace(row, gb=gb)


def of_device(name: str, capability: tuple[int, int], nbytes: int) -> Gpu:
    """A GPU that is there: as its driver calls it, with the bytes that it has."""
    rows = _rows(_joined(_plain(name)))
    if not rows:
        return of_capability(name, capability, nbytes / GIB)
    return replace(min(rows, key=lambda row: abs(row.vram - nbytes)), gb=nbytes / GIB)


def of_capability(name: str, capability: tuple[int, int], gb: float) -> Gpu:
    """A GPU that has no row, with the numbers of the slowest that has the same compute capability, or the next older
    one. Raises AdviceError if there is none."""
    older = [row for row in GPUS if row.capability <= capability]
    if not older:
        first = min(row.capability for row in GPUS)
        raise AdviceError(
            f"{name!r} has compute capability {capability[0]}.{capability[1]}, and nothing here is known of any below "
            f"{first[0]}.{first[1]}. Name a newer GPU."
        )
    row = min(older, key=lambda row: (-row.capability[0], -row.capability[1], row.fp16))
    return replace(row, name=name, capability=capability, gb=gb, stands_in=row.name)


def _rows(name: str) -> list[Gpu]:
    """Rows of one name, the smallest first."""
    full = (name, f"rtx {name}")
    return sorted((row for row in GPUS if row.name.lower() in full), key=lambda row: row.gb)


def _near(name: str) -> str:
    known = {row.name.lower(): row.name for row in GPUS}
    near = difflib.get_close_matches(name, known, n=NEAR, cutoff=0.5)
    return f" Near names: {', '.join(known[one] for one in near)}." if near else ""


def _plain(text: str) -> str:
    words = BEFORE.sub(" ", text.lower().replace("-", " "))
    return re.sub(r"\brtx(?=\d)", "rtx ", re.sub(r"(?<=\d)(ti|super)\b", r" \1", words))


def _joined(text: str) -> str:
    return " ".join(text.split())
