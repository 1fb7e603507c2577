"""x2v-quant fidelity: what each format and kernel costs in quality, against ComfyUI's own bf16, on one small model."""
