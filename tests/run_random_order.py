"""What people do in random order, on real servers of every mode, for as long as you like:

    python dev.py exec python tests/run_random_order.py --steps 500 --results FILE

Each mode of MODES gets its share of the steps; `--mode default --seed 7` does one of them again.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

TURNS = 50
WARM = 10  # turns until everything that is loaded once has been


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mode")
    parser.add_argument("--turns", type=int, default=TURNS, help="alternations of two graphs, for the memory")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    comfyui = Path(os.environ.get("COMFYUI_PATH") or Path(__file__).parent.parent / ".comfyui" / "ComfyUI")
    sys.path.insert(0, str(comfyui))
    report = run(options.steps, options.seed, [options.mode] if options.mode else None, options.turns)
    if options.results:
        options.results.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in report.items() if key != "modes"}, indent=1))
    return 1 if report["wrong"] else 0


def run(steps: int, seed: int, modes: list[str] | None, turns: int) -> dict:
    import torch
    from random_order import MODES, Driver, write_models
    from random_order.recipes import FP8, INT8, Recipe

    from x2v_quant.headless.server import serve

    gpu = torch.cuda.is_available()
    modes = modes or [mode for mode in MODES if gpu or mode != "novram"]
    pack = Path(__file__).parent / "server" / "reference_pack"
    began = time.monotonic()
    first: dict = {}
    reports = {}
    memory = {}
    for number, mode in enumerate(modes):
        share = steps // len(modes) + (number < steps % len(modes))
        with tempfile.TemporaryDirectory() as temporary:
            base = Path(temporary)
            write_models(base / "models")
            with serve(base, cpu=not gpu, more_packs=[pack], options=MODES[mode]) as server:
                driver = Driver(server, seed + number, first)
                reports[mode] = vars(driver.run(share, lambda line, mode=mode: print(f"{mode} {line}", flush=True)))
                if mode == modes[0]:
                    megabytes, tensors = driver.alternate([Recipe(INT8, ("lora",)), Recipe(FP8)], turns)
                    memory = {"megabytes": megabytes, "live tensors": tensors}
    wrong = [f"{mode}, {line}" for mode, report in reports.items() for line in report["wrong"]]
    if memory:
        wrong += growth(memory)
    return {
        "command": f"python tests/run_random_order.py --steps {steps} --seed {seed}",
        "torch": torch.__version__,
        "seconds": round(time.monotonic() - began),
        "steps": steps,
        "graphs": len(first),
        "wrong": wrong,
        "memory over the alternations": memory,
        "modes": reports,
    }


def growth(memory: dict[str, list[int]], megabytes: int = 64) -> list[str]:
    """What grew over the alternations, once the first ones are over."""
    size, tensors = memory["megabytes"], memory["live tensors"]
    found = []
    if len(size) > 2 * WARM and max(size[-WARM:]) - max(size[:WARM]) > megabytes:
        found.append(f"the process grew from {max(size[:WARM])} to {max(size[-WARM:])} MB")
    half = len(tensors) // 2
    if half and min(tensors[half:]) > min(tensors[:half]):
        found.append(f"live tensors grew: {tensors}")
    return found


if __name__ == "__main__":
    sys.exit(main())
