"""Writes the models that come with the pack, of the trained parts: python -m x2v_quant.benchmarks.train_demo.shipped"""

import shutil
import tempfile
from pathlib import Path

from ...demo import assets
from ...demo.trained import MODELS


def write(models: Path = MODELS) -> list[Path]:
    """Writes them below `models` and returns their paths."""
    written = assets.shipped(models)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        assets.write(made)
        for path in written:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made / path.relative_to(models), path)
    return written


if __name__ == "__main__":
    print(*write(), sep="\n")
