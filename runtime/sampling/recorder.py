"""Fills a step report while a sampler runs."""

import functools
import time
from collections.abc import Callable

import torch
from comfy.patcher_extension import WrappersMP, get_wrappers_with_key
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY
from comfy_execution.utils import get_executing_context

from ...linear.layers import hooked, linear_layers
from .clock import StepClock
from .run import Follower
from .run_report import RunReport
from .step_report import StepReport

SHOW_EVERY = 0.5  # seconds
# positions of arguments of BaseModel.apply_model
SIGMA, TRANSFORMER_OPTIONS = 1, 5


class StepRecorder:
    """Adds a run to `report` for each sampler that uses the patched model. A step is timed from one callback of the
    sampler to the next, previews included. The layers' multiplications are counted in the first evaluation."""

    def __init__(self, follower: Follower, report: StepReport):
        self.follower = follower
        self.report = report
        self.run: RunReport | None = None

    def sample(self, executor, guider, sigmas, extra_args, callback, *args, **kwargs):
        """SAMPLER_SAMPLE wrapper, inside the follower's."""
        run = self.run = self._begun(guider)
        show = throttled(self.report.show)

        def told(step, denoised, x, total):
            run.clock.mark()
            show(self.report.short)
            callback(step, denoised, x, total)

        run.clock.mark()
        try:
            return executor(guider, sigmas, extra_args, told, *args, **kwargs)
        finally:
            self.run = None
            run.clock.wait()
            self.report.show(self.report.short())

    def _begun(self, guider) -> RunReport:
        patcher, following = guider.model_patcher, self.follower
        plan = getattr(patcher.model, "x2v_plan", None)
        layers = following.run.layers(patcher.model.diffusion_model)
        context = get_executing_context()
        run = RunReport(
            sampler=context.node_id if context else "",
            title=plan.title if plan else type(patcher.model).__name__,
            groups=plan.summary() if plan else [],
            sigmas=following.run.sigmas,
            quantizing={name for name, layer in layers.items() if layer.kernel.activation != "float"},
            always_high={name for name in layers if following.schedule.matches(name)},
            clock=StepClock(patcher.load_device),
        )
        self.report.begin(run, context.prompt_id if context else None)
        return run

    def apply(self, executor, *args, **kwargs):
        """APPLY_MODEL wrapper."""
        run = self.run
        run.evaluations.append((len(run.clock.marks) - 1, self.follower.run.is_high(args[SIGMA])))
        # a compiled model would be traced with the hooks; of several GPUs one counts
        if is_compiled(args[TRANSFORMER_OPTIONS]) or not run.uncounted.acquire(blocking=False):
            return executor(*args, **kwargs)
        layers = linear_layers(executor.class_obj.diffusion_model)
        with hooked(layers, before=functools.partial(_count, run), eager=False):
            return executor(*args, **kwargs)


def is_compiled(transformer_options: dict) -> bool:
    """Whether core's torch.compile wrapper is on the model that these belong to."""
    return bool(get_wrappers_with_key(WrappersMP.APPLY_MODEL, COMPILE_KEY, transformer_options))


def _count(run: RunReport, name: str, layer: torch.nn.Module, args, kwargs) -> None:
    rows = args[0].numel() // args[0].shape[-1]  # wider than in_features before an activation that halves it
    run.work[name] = run.work.get(name, 0) + rows * layer.in_features * layer.out_features
    run.tokens = max(run.tokens, rows)


def throttled(show: Callable[[str], None], every: float = SHOW_EVERY) -> Callable[[Callable[[], str]], None]:
    """A version of `show` that calls it at most once in `every` seconds. It takes a function that makes the text,
    which is called only then."""
    last = float("-inf")

    def maybe(text: Callable[[], str]) -> None:
        nonlocal last
        if time.monotonic() - last >= every:
            last = time.monotonic()
            show(text())

    return maybe
