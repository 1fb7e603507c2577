"""The demo's models, which come with the pack: ComfyUI's loaders list them beside the user's own."""

import folder_paths

from ..demo.assets import FOLDERS
from ..demo.trained import MODELS


def offer() -> None:
    """Adds a folder of the pack to each kind of model that the demo has. It comes last: the user's folders stay the
    first, where nodes save and where a file of the same name is taken from."""
    for kind in dict.fromkeys(FOLDERS.values()):
        folder_paths.add_model_folder_path(kind, str(MODELS / kind))
