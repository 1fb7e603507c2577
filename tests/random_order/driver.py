"""Runs actions in random order, holds each latent against the first of the same graph, and watches the memory."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil
import torch
from distance import distance
from safetensors.torch import load_file

from x2v_quant.headless.client import ServerError
from x2v_quant.headless.server import Server

from .actions import ACTIONS
from .files import REPLACED
from .recipes import RECIPES, Recipe, prompt_of

# name -> options of the server; core has no --novram without a GPU
MODES: dict[str, tuple[str, ...]] = {
    "default": (),
    "cache-none": ("--cache-none",),
    "cache-lru": ("--cache-lru", "3"),
    "disable-smart-memory": ("--disable-smart-memory",),
    "disable-mmap": ("--disable-mmap",),
    "novram": ("--novram",),
}
SECONDS = 60


@dataclass
class Report:
    """`wrong`: what was not as it should be, with the number of its step."""

    steps: int = 0
    actions: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)


class Driver:
    """`first`: (recipe, version of the replaced file) -> its first latent. Two drivers may share it: what one server
    gave first, another one with other options gives too."""

    def __init__(self, server: Server, seed: int, first: dict[tuple[Recipe, int], torch.Tensor] | None = None):
        self.server, self.rng = server, random.Random(seed)
        self.client = server.client
        self.info = self.client.object_info()
        self.models = server.base / "models"
        self.first = {} if first is None else first
        self.told: dict[str, list[str]] = {}  # what Compare said of a model
        self.version = 0
        self.last = RECIPES[0]
        self.report = Report()
        self.numbers = 0

    def run(self, steps: int, tell: Callable[[str], None] = lambda line: None) -> Report:
        """`steps` actions; at least every recipe's latent is known by the end of a long run."""
        chosen = self.rng.choices(list(ACTIONS), weights=list(ACTIONS.values()), k=steps)
        for action in chosen:
            self.report.steps += 1
            name = action.__name__
            self.report.actions[name] = self.report.actions.get(name, 0) + 1
            before = len(self.report.wrong)
            try:
                told = action(self)
            except ServerError as error:
                told = self._wrong(f"{name}: {error}")
            mark = "" if len(self.report.wrong) == before else "  WRONG"
            tell(f"{self.report.steps} {name}: {told}{mark}")
        return self.report

    def alternate(self, recipes: Sequence[Recipe], turns: int) -> tuple[list[int], list[int]]:
        """Runs recipes in turns, models unloaded in between. -> (megabytes of the process, live tensors) per turn."""
        megabytes, tensors = [], []
        for turn in range(turns):
            for recipe in recipes:
                self.check(recipe)
                self.client.free(unload_models=True, free_memory=turn % 2 == 0)
            megabytes.append(psutil.Process(self.server.process.pid).memory_info().rss >> 20)
            tensors.append(self._live_tensors())
        return megabytes, tensors

    def _live_tensors(self) -> int:
        self.client.free()
        time.sleep(0.5)  # core looks at the flags when the queue is empty
        prompt = {"count": {"class_type": "LiveTensors", "inputs": {"number": self.count()}}}
        (text,) = self.client.run(prompt).outputs["count"]["text"]
        return int(text)

    def count(self) -> int:
        self.numbers += 1
        return self.numbers

    def check(self, recipe: Recipe) -> None:
        """Runs a recipe and compares its latent with the first."""
        self.last = recipe
        self.compare(recipe, self.latent(self.client.run(prompt_of(recipe, self.info, self.count()))))

    def compare(self, recipe: Recipe, found: object) -> None:
        if not isinstance(found, torch.Tensor):
            self._wrong(f"{recipe}: {found}")
            return
        known = self.first.setdefault((recipe, self.version if recipe.file == REPLACED else 0), found)
        if not torch.equal(known, found):
            off = distance(found, known)
            self._wrong(f"{recipe}: the latents are {off:.2g} off those of its first run")
        if not found.isfinite().all():
            self._wrong(f"{recipe}: the latents are not finite")

    def latent(self, result) -> torch.Tensor:
        (file,) = [file for file in result.files() if file["filename"].endswith(".latent")]
        path = self.server.base / "output" / file["subfolder"] / file["filename"]
        found = load_file(path)["latent_tensor"].float()
        path.unlink()
        return found

    def until(self, done: Callable[[], bool], words: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not done():
            if time.monotonic() > deadline:
                self._wrong(words)
                return
            time.sleep(0.1)

    def expect(self, held: bool, words: str) -> None:
        if not held:
            self._wrong(words)

    def _wrong(self, words: str) -> str:
        self.report.wrong.append(f"step {self.report.steps}: {words}")
        return words
