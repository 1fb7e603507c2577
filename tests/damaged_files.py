"""Damages small files by the thousand and says what became of each kind:

    python dev.py exec python tests/damaged_files.py --count 10000 --results FILE

`--first N --count 1` does the file of one number again, `--keep FOLDER` leaves it there.
"""

import argparse
import collections
import json
import os
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--keep", type=Path, help="leave the files here")
    options = parser.parse_args()
    start_comfyui()
    with tempfile.TemporaryDirectory() as temporary:
        report = run(range(options.first, options.first + options.count), options.keep or Path(temporary))
    if options.results:
        options.results.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report["verdicts"], indent=1))
    return 1 if report["bad"] else 0


def start_comfyui() -> None:
    """Puts ComfyUI on the path as a server does, on the CPU."""
    comfyui = Path(os.environ.get("COMFYUI_PATH") or Path(__file__).parent.parent / ".comfyui" / "ComfyUI")
    sys.path.insert(0, str(comfyui))
    sys.argv = sys.argv[:1]
    import utils  # noqa: F401
    from comfy.cli_args import args

    args.cpu = True


def run(numbers: range, folder: Path) -> dict:
    import comfyui_version
    import safetensors
    import torch
    from damaged import BAD, Judge, damaged_files

    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    judge = Judge(Path(tempfile.mkdtemp(dir=folder)))
    kinds: dict[str, collections.Counter] = {}
    verdicts: collections.Counter = collections.Counter()
    bad = []
    for damaged in damaged_files(numbers, folder):
        verdict = judge.verdict(damaged)
        verdicts[verdict.kind] += 1
        kinds.setdefault(damaged.damage, collections.Counter())[verdict.kind] += 1
        if verdict.kind in BAD:
            bad.append(f"{damaged.number} {damaged.source}, {damaged.damage}: {verdict.kind}: {verdict.detail}")
            print(bad[-1], flush=True)
    versions = {"torch": torch.__version__, "safetensors": safetensors.__version__}
    return {
        "command": f"python tests/damaged_files.py --first {numbers.start} --count {len(numbers)}",
        "versions": {**versions, "comfyui": comfyui_version.__version__, "python": sys.version.split()[0]},
        "seconds": round(time.monotonic() - began),
        "files": len(numbers),
        "verdicts": dict(sorted(verdicts.items())),
        "by_damage": {name: dict(sorted(found.items())) for name, found in sorted(kinds.items())},
        "bad": bad,
    }


if __name__ == "__main__":
    sys.exit(main())
