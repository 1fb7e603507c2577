"""The ComfyUI that is installed here: where it is, which features it has, and what is read of its private state."""
