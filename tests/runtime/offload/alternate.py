"""Run as a script in a fresh interpreter: two models sample in turns, are unloaded and loaded again, and some runs
break off in the middle of a block. Prints how far resident memory rose from the tenth turn to the last, and what is
left of buffers and threads."""

import contextlib
import gc
import json
import sys
import threading

TURNS = 50


def main(folder: str, mode: str) -> None:
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent))
    from x2v_quant.core.on_path import use_comfyui

    use_comfyui()
    import comfy.model_management
    import psutil
    import torch
    from conftest import load, sample_with, stream_on_cpu

    from x2v_quant.runtime.offload import OffloadSettings
    from x2v_quant.runtime.offload.streaming import Slot

    def turn(model, breaks: bool):
        def fail(*_):
            raise ZeroDivisionError

        hook = model.model.diffusion_model.blocks[1].ffn.register_forward_hook(fail) if breaks else None
        with contextlib.suppress(ZeroDivisionError):
            sample_with(model, 1)
        if hook is not None:
            hook.remove()

    with torch.inference_mode():
        settings = OffloadSettings(mode)
        gc.freeze()  # collecting looks at what the turns make, not at every module that was imported
        models = [stream_on_cpu(load(folder, kind), settings) for kind in ("int8", "fp8")]
        memory = []
        for number in range(TURNS):
            turn(models[number % 2], breaks=number % 7 == 3)
            if number % 5 == 4:
                comfy.model_management.unload_all_models()
            gc.collect()
            memory.append(psutil.Process().memory_info().rss)
        comfy.model_management.unload_all_models()
        gc.collect()
        slots = sum(isinstance(thing, Slot) for thing in gc.get_objects())
    readers = sum(thread.name.startswith("x2v-read") for thread in threading.enumerate())
    print(json.dumps({"rise": memory[-1] - memory[9], "slots": slots, "readers": readers}))


if __name__ == "__main__":
    main(*sys.argv[1:])
