"""A quantized Wan small enough for any machine, sampled by the real ComfyUI server: `python -m x2v_quant.demo`."""
