"""A calibration: statistics of every input channel of every layer, and distinct tokens of their inputs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .errors import CalibrationError
from .files import MAXIMA, SQUARES, TOKENS, Inputs, read, values, write

OTHER_MODEL = "it was recorded on another model. Calibrate this one."
# a channel's maximum in standard deviations, assumed where only the maximum is known: the largest of about 30,000
# normally distributed values
DEVIATIONS = 4.0


@dataclass
class Calibration:
    """Filled by a Recorder. Layer names are those in the diffusion model; `maxima` and `squares` are on the device the
    model ran on.

    `maxima`: layer -> float32 [K], the largest |input| per channel. `squares`: layer -> float32 [K], the sum of squares
    per channel over all tokens. `tokens`: layer -> number of tokens. `calls`: number of calls of the model. `inputs`:
    layer -> some of its tokens, all distinct, [T, K] in 16 bits; layers that got the same have the same object. Empty
    if none were recorded. `inputs_of` reads them.
    """

    maxima: dict[str, torch.Tensor] = field(default_factory=dict)
    squares: dict[str, torch.Tensor] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    inputs: dict[str, Inputs] = field(default_factory=dict)

    def add(self, layer: str, maxima: torch.Tensor, squares: torch.Tensor, tokens: int) -> None:
        """Add the statistics of one call of `layer`, without waiting for the GPU."""
        if layer in self.maxima:
            maxima = torch.maximum(self.maxima[layer].to(maxima.device), maxima)
            squares = self.squares[layer].to(squares.device) + squares
        self.maxima[layer], self.squares[layer] = maxima, squares
        self.tokens[layer] = self.tokens.get(layer, 0) + tokens

    def snapshot(self) -> "Calibration":
        """A copy for `restore`. It shares the tensors, which `add` never writes to."""
        return Calibration(dict(self.maxima), dict(self.squares), dict(self.tokens), self.calls, dict(self.inputs))

    def restore(self, before: "Calibration") -> None:
        """Drop everything recorded since the snapshot `before`."""
        self.maxima, self.squares = dict(before.maxima), dict(before.squares)
        self.tokens, self.calls, self.inputs = dict(before.tokens), before.calls, dict(before.inputs)

    def inputs_of(self, layer: str) -> torch.Tensor | None:
        """[T, K] in 16 bits on the CPU: distinct tokens of the layer's inputs in a random order. None if none were
        recorded. Read from the file or copied with every call. Raises CalibrationError for a file that is damaged."""
        return values(self.inputs[layer]) if layer in self.inputs else None

    def same_inputs(self, layer: str) -> str:
        """A key that is equal for layers that got the same inputs: the first of them, itself without inputs."""
        seen = self.inputs.get(layer)
        return layer if seen is None else next(name for name, other in self.inputs.items() if other is seen)

    def mean_squares(self, layer: str) -> torch.Tensor:
        """float32 [K], the mean square of each input channel; estimated if only the maxima are known."""
        return self.deviations(layer).square()

    def deviations(self, layer: str) -> torch.Tensor:
        """float32 [K], the root mean square of each input channel; estimated if only the maxima are known."""
        if layer not in self.squares:
            return self.maxima[layer] / DEVIATIONS
        # no mean is larger than the maximum, but a sum may overflow
        return torch.minimum((self.squares[layer] / self.tokens[layer]).sqrt(), self.maxima[layer])

    @property
    def about(self) -> str:
        """For people: layers, calls and tokens."""
        most = max((inputs.shape[0] for inputs in self.inputs.values()), default=0)
        tokens = f", up to {most} tokens each" if most else ""
        return f"{len(self.maxima)} layers, {self.calls} calls of the model{tokens}"

    def check(self) -> None:
        """Raise CalibrationError if nothing was recorded, or a value is not finite. Waits for the GPU."""
        if not self.maxima:
            raise CalibrationError(
                "The calibration is empty: nothing was sampled with the calibrated model before. Connect it to a "
                "KSampler that runs first."
            )
        wrong = next((layer for layer, maxima in self.maxima.items() if not bool(maxima.isfinite().all())), None)
        if wrong is not None:
            raise CalibrationError(
                f"Layer {wrong} got an input that is infinite or not a number while the model was calibrated: the "
                "model overflows. Calibrate in bf16 or fp32: set precision while computing (compute_dtype) of "
                "Quantization Scheme, or start ComfyUI with --bf16-unet for its own loaders."
            )

    def check_fits(self, layers: Mapping[str, int]) -> None:
        """`check`, and raise CalibrationError for a calibration of another model, which has none of `layers` (name ->
        number of input channels) or another number of channels."""
        self.check()
        for name in self.known(layers):
            self.check_channels(name, layers[name])

    def known(self, layers: Collection[str]) -> list[str]:
        """Those of `layers` that are in the calibration. Raises CalibrationError if none of them is."""
        seen = [name for name in layers if name in self.maxima]
        if layers and not seen:
            raise CalibrationError(
                f"The calibration knows none of the model's layers, {next(iter(layers))} for instance: {OTHER_MODEL}"
            )
        return seen

    def check_channels(self, layer: str, channels: int) -> None:
        """Raise CalibrationError unless a layer in the calibration has so many input channels."""
        seen = self.maxima[layer].shape[0]
        if seen != channels:
            raise CalibrationError(
                f"The calibration saw {seen} input channels of layer {layer}, which has {channels}: {OTHER_MODEL}"
            )

    def on_cpu(self) -> "Calibration":
        """A copy with all tensors in RAM, independent of later recording."""
        maxima, squares = (
            {layer: tensor.to("cpu", copy=True) for layer, tensor in tensors.items()}
            for tensors in (self.maxima, self.squares)
        )
        return Calibration(maxima, squares, dict(self.tokens), self.calls, dict(self.inputs))

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all. Raises CalibrationError as `check`, WriteError where the file
        cannot be written."""
        self.check()
        here = self.on_cpu()
        tensors = {f"{layer}{MAXIMA}": maxima for layer, maxima in here.maxima.items()}
        tensors |= {f"{layer}{SQUARES}": squares for layer, squares in here.squares.items()}
        tensors |= {f"{layer}{TOKENS}": torch.tensor(tokens) for layer, tokens in here.tokens.items()}
        write(Path(path), tensors, here.inputs, {"calls": str(self.calls)})

    @staticmethod
    def load(path: str | Path) -> "Calibration":
        """Read what `save` wrote, inputs when they are asked for. Raises CalibrationError for any other file, OSError
        if there is none."""
        seen, inputs, calls = read(Path(path))
        tokens = {layer: int(count) for layer, count in seen[TOKENS].items()}
        return Calibration(seen[MAXIMA], seen[SQUARES], tokens, calls, inputs)
