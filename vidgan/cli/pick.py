"""The verb pick: a page to choose pictures by eye, and to keep some of them by name."""

import contextlib
import html
import io
import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from vidgan.cli import choose, terminal
from vidgan.cli.terminal import Whole
from vidgan.disk.templates import filled, script_json
from vidgan.errors import UsageError

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

_COLUMNS, _MOST = 8, 64  # pictures in a row of a sheet, and in a sheet


def pick(model: Path | None = None, *, port: Whole = 8000, device: str = "auto") -> None:
    """Choose pictures by eye in the browser of this machine, and keep some by name, until Ctrl-C.

    The page then says the command for a film through them. It shows a generator as it was when the
    page was loaded.

    Args:
        model: The generator, as for vidgan sample. By default that of the newest run in runs/, or
            else the one that comes with vidgan, of which nothing can be kept.
        port: The page is at http://127.0.0.1:PORT/. 0 takes a free port.
        device: Where the generator runs: auto, cpu, cuda or mps.
    """
    from vidgan.cli.serve import run

    run(server(model, port=port, device=device))


def server(model: Path | None, *, port: int = 0, device: str = "auto") -> "ThreadingHTTPServer":
    """A server of the page, ready for `run`. Raises ModelError, UsageError and SystemFault."""
    from vidgan.cli.serve import answering

    choice = _Choice(model, device)
    answers = {
        "GET /": ("text/html", choice.page),
        "GET /sheet.png": ("image/png", choice.sheet),
        "POST /keep": ("text/plain", choice.keep),
    }
    listening = answering(answers, port=port)
    if choice.file.is_file():  # torch takes seconds
        terminal.to_stderr(f"{choice.name}: opening it for the page")
    with contextlib.ExitStack() as failed:
        failed.callback(listening.server_close)
        choice.page("")  # which finds what is wrong with the generator
        failed.pop_all()
    return listening


class _Choice:
    """A generator, and the answers to what the page asks for."""

    def __init__(self, model: Path | None, device: str) -> None:
        from vidgan.generator import runs

        self.file, self.name = runs.find_model(model)
        self._option = f"--model {shlex.quote(str(model))} " if model else ""
        self._device = device

    def page(self, _: str) -> bytes:
        """The page, for the generator as it is now: the run may have gone on."""
        from vidgan.generator import favourites, synthesis

        self._generator = synthesis.open_generator(self.file, device=self._device)
        content = {
            "width": self._generator.width,
            "height": self._generator.height,
            "columns": _COLUMNS,
            "classes": self._generator.class_names,
            "kept": list(favourites.favourites(self.file)),
            "model": self._option,
        }
        values = {"TITLE": html.escape(self.name), "DATA": script_json(content)}
        return filled(Path(__file__).with_name("pick.html"), values)

    def sheet(self, query: str) -> bytes:
        """A PNG of ?keyframes=coast,17&class=2, where the class is that of seeds."""
        from vidgan.film import encoders
        from vidgan.generator import classes, favourites

        asked = {"keyframes": "", "class": "0"} | dict(parse_qsl(query))
        keyframes = favourites.keyframes_of(self.file, asked["keyframes"])
        if not 0 < len(keyframes) <= _MOST:
            raise UsageError(f"a sheet has 1 to {_MOST} pictures, not {len(keyframes)}.")
        names = self._generator.class_names
        shown = classes.numbers_of([asked["class"]], names) if names else []
        size = [_COLUMNS, -(-len(keyframes) // _COLUMNS)]
        picture, _ = choose.sheet(self._generator, keyframes, shown, size, False)
        png = io.BytesIO()
        encoders.save_png(png, picture, {"model": self._generator.sha256, "keyframes": keyframes})
        return png.getvalue()

    def keep(self, content: str) -> bytes:
        """Keep {"seed": "17", "class": "2", "name": "coast"}, and list what is kept on stdout."""
        from vidgan.generator import metadata

        kinds = {"seed": str, "name": str, "class": str | None}
        entry = metadata.parse(content, kinds, where="the request")
        seed, label = entry["seed"], entry.get("class")
        choose.keep(seed, entry["name"], label=label, model=self.file)
        return b""
