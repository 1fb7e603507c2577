"""The NaN guard: stops a run at the first step whose output is not finite, and names the layer and a remedy."""

from ...common.printable import PrintableError
from .nan_search import NanSearch
from .nan_words import sentence
from .run import Follower


class NonFiniteError(PrintableError, RuntimeError):
    """The model's output has NaN or infinite values. The message names step, layer, plan and what to try."""


class NanGuard:
    """Checks the model's output in every step, which costs one reduction and one wait for the GPU. Only if it is not
    finite the step is computed again, with every layer watched."""

    def __init__(self, follower: Follower):
        self.follower = follower
        self.search: NanSearch | None = None

    def predict(self, executor, x, timestep, *args, **kwargs):
        """PREDICT_NOISE wrapper. Raises NonFiniteError."""
        result = executor(x, timestep, *args, **kwargs)
        if bool(result.isfinite().all()):
            return result
        search = self.search = NanSearch()
        try:
            executor(x, timestep, *args, **kwargs)
        finally:
            self.search = None
        raise NonFiniteError(sentence(search.culprit(x), self.follower.run, float(timestep.max())))

    def apply(self, executor, *args, **kwargs):
        """APPLY_MODEL wrapper: watches the layers while a step is computed again."""
        if self.search is None:
            return executor(*args, **kwargs)
        with self.search.watching(executor.class_obj.diffusion_model, args, kwargs):
            return executor(*args, **kwargs)
