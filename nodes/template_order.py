"""The pack's cards in the templates dialog, in the order of their numbers.

Core lists a pack's templates as the file system does, which sorts names on Windows but not on most Linux machines, and
the dialog shows them in the order of that list. A middleware of the server sorts the entry that has the pack's names.
"""

import json
from pathlib import Path

from aiohttp import web
from server import PromptServer

LIST = "/workflow_templates"
TEMPLATES = Path(__file__).parents[1] / "workflows"


def sort_cards() -> None:
    """Has the running server answer with the pack's templates in order; what other packs have stays as it is. A program
    that loads nodes without a server has no list."""
    running = getattr(PromptServer, "instance", None)
    if running is not None:
        running.app.middlewares.append(_ordered)


@web.middleware
async def _ordered(request: web.Request, handler) -> web.StreamResponse:
    response = await handler(request)
    if request.path.removeprefix("/api") != LIST:
        return response
    ours = sorted(path.stem for path in TEMPLATES.glob("*.json"))
    listed = json.loads(response.body)
    return web.json_response({pack: ours if sorted(names) == ours else names for pack, names in listed.items()})
