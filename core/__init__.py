"""What is asked of the ComfyUI that is installed here: where it is, and what it brings."""
