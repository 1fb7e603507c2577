"""Run in a fresh interpreter: loads a bf16 Wan with core's own loader, quantizes it, smoothed or plain, and prints as
JSON how far resident memory rose above what the loaded model held ("peak"), the bytes of the quantized weights
("weights") and of the largest layer in float32 ("largest"), and how many layers are smoothed ("smoothed")."""

import json
import sys

from x2v_quant.core.on_path import use_comfyui

PLAIN, SMOOTH = "plain", "smooth"
# a few channels whose activations are so much larger: smoothing is worth it in every layer
OUTLIERS, TIMES = 8, 100.0


def main(path: str, format_name: str, how: str) -> None:
    use_comfyui()
    import comfy.sd
    import psutil
    import torch

    from x2v_quant.common.resident_memory import peak, reset_peak
    from x2v_quant.formats import format_of
    from x2v_quant.quantizing import quantize_model, select_in_model
    from x2v_quant.schemes import SchemeChoice

    choice = SchemeChoice(dit="reference", compute_dtype="fp32")
    with torch.inference_mode():
        model = comfy.sd.load_diffusion_model(path)
        # what importing and probing takes is not the model's
        selection = select_in_model(model, format_name, "", choice)
        smoother = smoother_for(model, selection) if how == SMOOTH else None
        warm_up(model, selection, choice, smoother)
        reset_peak()
        before = psutil.Process().memory_info().rss
        made = quantize_model(model, selection, choice, smoother)
        after = peak()
    layers = [made.model.diffusion_model.get_submodule(name).weight for name in made.model.x2v_plan.layers]
    parts = [format_of(w).parts(w._qdata, w._params) for w in layers]
    print(
        json.dumps(
            {
                "peak": after - before,
                "weights": sum(part.nbytes for held in parts for part in held),
                "largest": max(w.numel() for w in layers) * 4,
                "smoothed": sum(format_of(w).smooth for w in layers),
            }
        )
    )


def smoother_for(model, selection):
    """With a calibration that has seen outliers in the inputs of every layer that is to be quantized."""
    import torch

    from x2v_quant.calibration import Calibration
    from x2v_quant.quantizing import Smoother

    calibration = Calibration(calls=1)
    for name in selection.formats:
        squares = torch.ones(model.model.diffusion_model.get_submodule(name).in_features)
        squares[:OUTLIERS] *= TIMES**2
        calibration.add(name, 4 * squares.sqrt(), squares, 1)
    return Smoother(calibration)


def warm_up(model, selection, choice, smoother) -> None:
    from dataclasses import replace

    from x2v_quant.layer_rules import Selection
    from x2v_quant.quantizing import quantize_model

    name, format_name = next(iter(selection.formats.items()))
    of_its_own = smoother and replace(smoother, found={})
    quantize_model(model, Selection(selection.family, {name: format_name}), choice, of_its_own)


if __name__ == "__main__":
    main(*sys.argv[1:])
