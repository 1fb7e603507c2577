"""Run as a module in a fresh interpreter: one contestant, so that time and memory are its own. Takes the path of a Job
as JSON."""

import json
import sys
from pathlib import Path

import torch

from ...core.on_path import use_comfyui
from .job import RESULT, Job


def main(path: str) -> None:
    use_comfyui()
    from .measure import measure

    job = Job(**json.loads(Path(path).read_text(encoding="utf-8")))
    with torch.inference_mode():
        result = measure(job)
    (Path(job.folder) / RESULT).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
