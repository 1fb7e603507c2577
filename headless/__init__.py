"""Runs ComfyUI without a browser: starts the server, converts a saved workflow to a prompt, posts and follows it."""
