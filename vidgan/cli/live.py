"""The verb live: a page that shows a run while it trains, and steers it; also beside a training."""

import contextlib
import os
import secrets
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vidgan.cli import terminal
from vidgan.cli.terminal import Whole
from vidgan.errors import UsageError

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

    from vidgan.training.live import View

_LAST_S = 1.5  # for viewers to fetch the last pictures


def live(run: Path, /, *, port: Whole = 0) -> None:
    """Show a run in the browser of this machine while it trains, and steer it, until Ctrl-C.

    Only who has the address that is printed can see the page. A run that has ended is shown, too.

    Args:
        run: The folder of the run, or its number.
        port: The page is at http://127.0.0.1:PORT/ and a secret word. 0 takes a free port.
    """
    from vidgan.cli import serve
    from vidgan.generator.runs import named_run
    from vidgan.training.live import View

    folder = named_run(run)
    if not (folder / "config.toml").is_file():
        raise UsageError(f"{run}: not a run; runs are the folders in runs/.")
    page, secret = opened(View(folder), port=port)
    serve.run(page, secret)


@contextlib.contextmanager
def beside(bar: object) -> Iterator[None]:
    """Serve the page of the run that begins within the block. `bar` is told of its folder."""
    from vidgan.cli.serve import address
    from vidgan.training.live import View

    with contextlib.ExitStack() as ends:

        def begins(folder: Path) -> None:
            page, secret = opened(View(folder))
            terminal.to_stderr(f"To watch and steer: {address(page, secret)}")
            threading.Thread(target=ends.enter_context(page).serve_forever, daemon=True).start()
            ends.callback(page.shutdown)

        bar.begins = begins
        yield
        time.sleep(_LAST_S)


def opened(view: "View", *, port: int = 0) -> tuple["ThreadingHTTPServer", str]:
    """A server of the page, ready for `run`, and the path, which nobody can guess. The page opens
    before the person at this screen, if there is one. Raises UsageError and SystemFault."""
    from vidgan.cli.serve import address, answering

    secret = f"{secrets.token_urlsafe(16)}/"
    answers = {
        f"GET /{secret}": ("text/html", view.page),
        f"GET /{secret}events": ("text/event-stream", view.events),
        f"GET /{secret}numbers": ("text/plain", view.numbers),
        f"GET /{secret}picture": ("image/png", view.picture),
        f"POST /{secret}ask": ("text/plain", view.ask),
    }
    server = answering(answers, port=port)
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.stderr.isatty() and (screen or sys.platform in ("darwin", "win32")):
        webbrowser.open(address(server, secret))
    return server, secret
