"""The result of a comparison as data."""

import math
from dataclasses import dataclass

from .layers import Layer
from .verdict import Verdict


@dataclass(frozen=True)
class Report:
    """`steps`: relative error |x0' - x0| / |x0| of the predicted clean latent at each step. `result`: that of the final
    latent. `psnr` (dB), `ssim`: of the decoded result, None without a VAE. `layers`: see Layer."""

    steps: tuple[float, ...]
    result: float
    psnr: float | None
    ssim: float | None
    layers: tuple[Layer, ...]
    verdict: Verdict

    def as_dict(self) -> dict:
        """The report as JSON; infinite values and NaN become None."""
        return {
            "identical": self.verdict.identical,
            "steps": [_number(error) for error in self.steps],
            "latent_error": _number(self.result),
            "psnr_db": _number(self.psnr),
            "ssim": _number(self.ssim),
            "layers": [
                {
                    "layer": layer.name,
                    "shape": list(layer.shape),
                    "reference": layer.reference,
                    "candidate": layer.candidate,
                    "identical": layer.noise == 0,
                    "snr_db": _number(layer.snr),
                }
                for layer in self.layers
            ],
            "verdict": self.verdict.words,
            "keep": list(self.verdict.lines),
        }


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
