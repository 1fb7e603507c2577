"""Run as a script in a fresh interpreter: sample with a model of Wan 1.3B's shape whose weights stay in their file, and
print the peak of anonymous memory above the start. Arguments: the file; if there is a second one, bytes of memory that
the process and the pages of the file may take together (needs Linux' memory control groups)."""

import json
import os
import sys
import threading
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup/memory")


def limit(count: int) -> None:
    """Put this process into a control group of its own."""
    group = GROUPS / f"x2v-{os.getpid()}"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(count))
    (group / "cgroup.procs").write_text(str(os.getpid()))


def anonymous() -> int:
    """Bytes of resident memory that no file backs."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


class Peak:
    """A context manager: the most of `anonymous` while it is open."""

    def __enter__(self):
        self.bytes, self._over = anonymous(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self):
        while not self._over.wait(0.002):
            self.bytes = max(self.bytes, anonymous())


def main(path: str, most: str | None = None) -> None:
    from x2v_quant.core.on_path import use_comfyui

    use_comfyui()
    import comfy.sample
    import torch

    from x2v_quant.loading.dit import load_dit
    from x2v_quant.runtime.offload import OffloadSettings
    from x2v_quant.runtime.offload.apply import offloaded

    # what the libraries set up for their first multiplication is theirs
    torch.randn(512, 512) @ torch.randn(512, 512)
    if most is not None:
        limit(int(most))
    before = anonymous()
    with torch.inference_mode(), Peak() as peak:
        model = offloaded(load_dit(path), OffloadSettings("disk"))
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn((1, 16, 1, 16, 16), generator=generator)
        text = [[torch.randn((1, 8, 4096), generator=generator), {}]]
        latents = comfy.sample.sample(
            model, noise, 1, 1.0, "euler", "simple", text, text, torch.zeros_like(noise), disable_pbar=True, seed=0
        )
    print(json.dumps({"rise": peak.bytes - before, "sum": latents.double().sum().item()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
