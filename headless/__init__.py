"""ComfyUI without a browser: start the real server, turn a saved workflow into a prompt, post it and follow it."""
