"""The page that shows a run while it trains, and what its viewers may ask for.

The page and the training meet in the folder `live` of the run, which is there only while the run
trains. So they need not be one process, and no viewer can hold up the training.

    now.json       what the page must know beside stats.jsonl
    asked.jsonl    what viewers ask for, a line each
    looked         touched while somebody looks
    believed.png   what D believes most and least of a batch
"""

import html
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from vidgan import config
from vidgan.disk.files import disk_faults
from vidgan.disk.templates import filled, script_json
from vidgan.errors import ConfigError, UsageError
from vidgan.training import run_folder
from vidgan.training.log import Knobs

FOLDER, NOW, ASKED, BELIEVED = "live", "now.json", "asked.jsonl", "believed.png"
_LOOKED, _LOOKED_S = "looked", 10.0
_TICK_S, _MOST_BYTES = 0.5, 1 << 22
_DOES = ("pause", "go", "step", "turn", "branch", "stop")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a viewer asks for; `to` are the knobs to turn."""

    do: str
    to: Knobs = field(default_factory=Knobs)

    def __post_init__(self) -> None:
        if self.do not in _DOES:
            raise ConfigError(f"do = {self.do!r:.20}: one of {', '.join(_DOES)}.")


def looked(folder: Path) -> bool:
    """Whether somebody has looked at the page a moment ago."""
    with suppress(OSError):
        return abs(time.time() - (folder / _LOOKED).stat().st_mtime) < _LOOKED_S
    return False


class View:
    """The folder of a run, as its page shows it to any number of viewers."""

    def __init__(self, run: Path) -> None:
        self._run, self._lock = run, threading.Lock()
        self._event, self._made_at = b"", -_TICK_S

    def page(self, _: str) -> bytes:
        template = Path(__file__).with_name("live.html")
        charts = template.with_name("charts.js").read_text(encoding="utf-8")
        values = {"TITLE": html.escape(self._run.resolve().name), "CHARTS": charts}
        return filled(template, values | {"DATA": script_json({"run": str(self._run)})})

    def events(self, _: str) -> Iterator[bytes]:
        """What is new of the run, as server-sent events without end."""
        sent = b""
        while True:
            event = self._news()
            yield b":\n\n" if event == sent else event  # which finds out who has gone
            sent = event
            time.sleep(_TICK_S)

    def numbers(self, start: str) -> bytes:
        """The next lines of stats.jsonl from a byte on."""
        with (
            suppress(OSError, ValueError, OverflowError),
            (self._run / "stats.jsonl").open("rb") as file,
        ):
            file.seek(int(start))
            return b"".join(file.read(_MOST_BYTES).rpartition(b"\n")[:2])
        return b""

    def picture(self, name: str) -> bytes:
        """A picture of the run; what follows a second "?" only tells it from an older one."""
        name = name.partition("?")[0]
        if re.fullmatch(rf"samples\d+\.png|reals\.png|{FOLDER}/{BELIEVED}", name):
            with suppress(OSError):
                return (self._run / name).read_bytes()
        raise UsageError("There is no such picture.")

    def ask(self, text: str) -> bytes:
        """Pass on what a viewer asks for. Raises UsageError."""
        try:
            table = dict(json.loads(text))
            table["to"] = {key: float(value) for key, value in dict(table.get("to", {})).items()}
            asked = config.from_dict(table, Asked)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UsageError("This is nothing to ask for.") from error
        now = self._now() or {}
        if not now.get("steers"):
            raise UsageError("This run is not training here, so there is nothing to steer.")
        if lacking := asked.to.given.keys() - now["knobs"].keys():
            raise UsageError(f"This run has no {', '.join(lacking)} to turn.")
        path = self._run / FOLDER / ASKED
        with disk_faults(path), path.open("ab", buffering=0) as file:
            file.write(json.dumps({"do": asked.do, "to": asked.to.given}).encode() + b"\n")
        return b""

    def _now(self) -> dict | None:
        """What the training says of itself, which learns that somebody looks; None if the run does
        not train."""
        process, host = run_folder.owner(self._run) or ("", "")
        with suppress(OSError, ValueError):
            if process and host == socket.gethostname() and os.name == "posix":
                with suppress(PermissionError):  # of another user
                    os.kill(int(process), 0)  # raises, where there is none
            now = json.loads((self._run / FOLDER / NOW).read_bytes())
            (self._run / FOLDER / _LOOKED).touch()
            return now if process and isinstance(now, dict) else None
        return None

    def _news(self) -> bytes:
        """The run as one event. It is made once for all viewers."""
        with self._lock:
            if time.monotonic() - self._made_at < 0.9 * _TICK_S:
                return self._event
            news = {"now": self._now(), "samples": list(run_folder.grids(self._run))}
            with suppress(OSError):
                news["bytes"] = (self._run / "stats.jsonl").stat().st_size
                news["believed"] = (self._run / FOLDER / BELIEVED).stat().st_mtime
            self._event = b"data: " + json.dumps(news).encode() + b"\n\n"
            self._made_at = time.monotonic()
            return self._event
