"""Stops a run at the step whose model output is not finite, and says which layer began it and what to try."""

from ...common.printable import PrintableError
from .nan_search import NanSearch
from .nan_words import sentence
from .run import Follower


class NonFiniteError(PrintableError, RuntimeError):
    """A model evaluation gave NaN or infinity. The message names step, layer and plan, and what to try."""


class NanGuard:
    """Looks at what the sampler gets in every step: one reduction over the latent and one wait for the GPU. Only if
    that is not finite the step is computed once more, layer by layer watched."""

    def __init__(self, follower: Follower):
        self.follower = follower
        self.search: NanSearch | None = None

    def predict(self, executor, x, timestep, *args, **kwargs):
        """A wrapper of the guider's predict_noise. Raises NonFiniteError."""
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
        """A wrapper of BaseModel.apply_model: watches while there is something to find."""
        if self.search is None:
            return executor(*args, **kwargs)
        with self.search.watching(executor.class_obj.diffusion_model, args, kwargs):
            return executor(*args, **kwargs)
