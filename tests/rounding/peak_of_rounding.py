"""Run in a fresh interpreter: rounds a weight [N, K] by a method to formats, one after the other, and prints as JSON by
format how far resident memory rose ("peak") and what the Rounder says that it takes ("room"), both in bytes.
Arguments: N, K, tokens, the method, the formats."""

import json
import sys

from x2v_quant.core.on_path import use_comfyui

LAYER = "layer"
# imports, tables and the pools of threads
WARM_UP = 256


def main(rows: str, columns: str, tokens: str, method: str, *formats: str) -> None:
    use_comfyui()
    import torch

    from x2v_quant.calibration import Calibration
    from x2v_quant.quantizing import Rounder
    from x2v_quant.rounding import METHODS

    def rounder(width: int, count: int) -> Rounder:
        if METHODS[method].rounding != "gptq":
            return Rounder(METHODS[method])
        calibration = Calibration(calls=1)
        # in a file they would take no memory until they are read: these are there before
        calibration.inputs[LAYER] = torch.randn((count, width)).to(torch.bfloat16)
        calibration.add(LAYER, torch.ones(width), torch.ones(width), count)
        return Rounder(METHODS[method], calibration)

    found = {}
    with torch.inference_mode():
        small, large = rounder(WARM_UP, WARM_UP), rounder(int(columns), int(tokens))
        for name in formats:
            peak_of(small, (WARM_UP, WARM_UP), name)
            found[name] = {
                "peak": peak_of(large, (int(rows), int(columns)), name),
                "room": large.room(LAYER, (int(rows), int(columns)), name, torch.device("cpu")),
            }
    print(json.dumps(found))


def peak_of(rounder, shape: tuple[int, int], name: str) -> int:
    import psutil
    import torch

    from x2v_quant.common.resident_memory import peak, reset_peak

    reset_peak()
    before = psutil.Process().memory_info().rss
    weight = torch.randn(shape)
    rounder.quantized(weight, LAYER, name, torch.bfloat16, None)
    return peak() - before


if __name__ == "__main__":
    main(*sys.argv[1:])
