"""What the three trainings share: the optimizer with its learning rate over time, averaged weights, progress."""

import copy
import math
import time
from collections.abc import Iterator

import torch
from tqdm import tqdm

WARM_UP = 50  # steps
DECAY = 0.995  # of the averaged weights, per step
CLIP = 1.0  # largest norm of the gradient


class Trainer:
    """AdamW with warm-up and a cosine, and an exponential average of the weights.

    `model` is trained in place; `averaged` is what is kept. `seconds`: wall time of the steps so far.
    """

    def __init__(self, model: torch.nn.Module, rate: float, steps: int, label: str, decay: float = DECAY):
        self.model, self.steps, self.label, self.decay = model, steps, label, decay
        self.averaged = copy.deepcopy(model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=1e-3)
        self.rates = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate)
        self.seconds = 0.0
        self._bar: tqdm | None = None

    def _rate(self, step: int) -> float:
        return min((step + 1) / WARM_UP, 0.01 + 0.99 * (1 + math.cos(math.pi * step / self.steps)) / 2)

    def __iter__(self) -> Iterator[int]:
        """The steps; call `step` in each."""
        started = time.monotonic()
        with tqdm(range(self.steps), desc=self.label, unit="step", mininterval=10) as self._bar:
            yield from self._bar
        self.seconds += time.monotonic() - started

    def step(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.rates.step()
        # a young average follows faster, so that it forgets the random start
        done = self.rates.last_epoch
        decay = min(self.decay, (1 + done) / (10 + done))
        with torch.no_grad():
            for mean, now in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)
        self._bar.set_postfix_str(f"loss {loss.item():.4f}", refresh=False)
