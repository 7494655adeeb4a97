"""What a person sees: results on stdout; on stderr messages, and bars or else plain lines.

Only this module prints, because what a file says must not reach a terminal as it is.
"""

import base64
import logging
import os
import re
import sys
import textwrap
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import Parameter, Token

from vidgan import signals
from vidgan.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

_LINE_EVERY_S = 10.0
_SHOW_CURSOR = b"\r\n\x1b[?25h"  # which a bar hides
# Controls, marks of format (which reverse text, for example), surrogates, breaks of lines.
_UNSEEN, _JOINERS = {"Cc", "Cf", "Cs", "Zl", "Zp"}, "\u200c\u200d"
Numbers = object  # a `vidgan.training.log.Progress`; importing it here would import torch


def _whole(kind: type[int], tokens: Sequence[Token]) -> int:
    try:
        return int(tokens[0].value)
    except ValueError:
        raise UsageError(f"{tokens[0].keyword} {tokens[0].value}: a whole number.") from None


Whole = Annotated[int, Parameter(converter=_whole)]  # cyclopts alone would round 1.5


def pair(option: str, text: str, *, example: str = "8x4") -> tuple[int, int]:
    """The two numbers of an option such as --grid 8x4."""
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if not match:
        raise UsageError(f"{option} {text}: two whole numbers, for example {example}.")
    return int(match[1]), int(match[2])


def to_stdout(*lines: str) -> None:
    """Print results. Each argument is one line, whatever its characters are."""
    _print(sys.stdout, [part for line in lines for part in _at_spaces(sys.stdout, line)])


def to_stderr(*lines: str) -> None:
    with suppress(OSError):  # stderr may be closed, and nothing else could say so
        _print(sys.stderr, lines)


def error(line: str) -> None:
    """Print what went wrong. Other messages stay in one piece, because a command in them may have
    to be copied."""
    to_stderr(*_at_spaces(sys.stderr, f"vidgan: {line}"))


def show(picture: "np.ndarray") -> None:
    """Print a picture, uint8 [H, W, 3], as wide as the terminal: in kitty's graphics protocol, or
    else as blocks of two colours."""
    columns = os.get_terminal_size(sys.stdout.fileno()).columns
    kitty = re.search("kitty|ghostty", os.environ.get("TERM", ""))
    text, encoding = (_kitty if kitty else _blocks)(picture, columns), sys.stdout.encoding
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def _kitty(picture: "np.ndarray", columns: int) -> str:
    height, width, _ = picture.shape
    parts = re.findall(".{1,4096}", base64.b64encode(picture).decode())
    keys = [f"a=T,q=2,f=24,s={width},v={height},c={columns},m=1", *["m=1"] * (len(parts) - 1)]
    pieces = [f"\x1b_G{key};{part}\x1b\\" for key, part in zip(keys, parts, strict=True)]
    return "".join([*pieces, "\x1b_Gm=0;\x1b\\"])


def _blocks(picture: "np.ndarray", columns: int) -> str:
    from PIL import Image

    height, width, _ = picture.shape
    rows = max(1, round(columns * height / width / 2))
    small = Image.fromarray(picture).resize((columns, 2 * rows), Image.Resampling.BOX)
    pixels, upper_half = small.load(), "\x1b[38;2;{};{};{};48;2;{};{};{}m\u2580"
    lines = [
        "".join(upper_half.format(*pixels[x, 2 * y], *pixels[x, 2 * y + 1]) for x in range(columns))
        for y in range(rows)
    ]
    return "\n".join(f"{line}\x1b[0m" for line in lines)


def visible(text: str) -> str:
    r"""Replace what a terminal obeys and does not show: \x1b, \n, \u202e.

    Names and texts in a stranger's file could otherwise clear the screen, or look like messages of
    vidgan. Letters, signs and spaces of any language stay, also where joiners (ZWJ) connect them.
    """
    return "".join(
        c.encode("unicode_escape").decode()
        if unicodedata.category(c) in _UNSEEN and c not in _JOINERS
        else c
        for c in text
    )


def _at_spaces(stream: TextIO, line: str) -> list[str]:
    """Break a line that is too long for its terminal, which itself would break within words."""
    if not stream.isatty():
        return [line]
    with suppress(OSError):
        columns = os.get_terminal_size(stream.fileno()).columns
        if 0 < columns < len(visible(line)):
            whole = {"break_long_words": False, "break_on_hyphens": False}
            return textwrap.wrap(visible(line), columns, subsequent_indent="  ", **whole)
    return [line]


def _print(stream: TextIO, lines: Sequence[str]) -> None:
    text, encoding = "\n".join(map(visible, lines)), stream.encoding or "utf-8"
    # Not every terminal has every letter, and a missing one is not worth an error.
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    print(text, file=stream, flush=True)


def end_of_stdout(*, probe: bool) -> OSError | None:
    """Write what was printed, and with `probe` an empty line. If that fails, return why, and let
    nothing try it again."""
    try:
        print(end="\n" * probe, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


class _Stderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        to_stderr(self.format(record))


def is_first_process() -> bool:
    """Whether this process is alone, or the first one of a launcher's."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0) == 0


@contextmanager
def messages() -> Iterator[None]:
    """Print what the library logs. Of several processes, only the first one prints."""
    library = logging.getLogger("vidgan")
    handler = _Stderr() if is_first_process() else logging.NullHandler()
    library.addHandler(handler)
    library.setLevel(logging.INFO)
    library.propagate = False  # a package may give the root logger a handler that prints all again
    try:
        yield
    finally:
        library.removeHandler(handler)
        library.propagate = True


@contextmanager
def working_bar(text: str = "") -> Iterator[Callable[[int, int], None]]:
    """Yield a function that takes how much is done, and of how much.

    With a text, the bar is seen from the first call to the last. Without, it counts frames.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    started = time.monotonic()

    def advance(done: int, total: int) -> None:
        speed = f"{done}/{total} {done / (time.monotonic() - started):.0f} frames/s"
        shown = {"description": text or speed, "visible": not text or done < total}
        progress.update(task, completed=done, total=total, **shown)

    from rich.progress import TimeRemainingColumn

    with _bar(TimeRemainingColumn()) as progress:
        task = progress.add_task("starting", total=None, visible=not text)
        yield advance


@contextmanager
def training_bar() -> Iterator["_TrainingBar"]:
    """Yield what shows how far a training is."""
    if not sys.stderr.isatty():
        yield _TrainingBar(None)
        return
    with _bar() as progress:
        yield _TrainingBar(progress)


class _TrainingBar:
    """A bar, or without one a plain line now and then."""

    def __init__(self, progress: object | None) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=1.0) if progress else None
        self._next, self._first = time.monotonic() + _LINE_EVERY_S, None
        self.begins: Callable[[Path], None] = lambda folder: None  # called with that of the run

    def decoding(self, done: int, total: int) -> None:
        """Show how many pictures of the data are decoded."""
        if not total:
            return
        now = time.monotonic()
        since, before = self._first = self._first or (now, done)
        speed = (done - before) / max(now - since, 1e-9)
        left = timedelta(seconds=round((total - done) / speed)) if speed else "?"
        rest = f"of {total:,}, {speed:.0f}/s, {left} left"
        self._show(done / total, f"decoding {done:,} {rest if done < total else 'done; starting'}")

    def training(self, now: Numbers, share: float) -> None:
        """Show the numbers of a step, and the share of the run that is done."""
        self._show(share, _numbers(now, share), last=share == 1)

    def _show(self, share: float, text: str, *, last: bool = False) -> None:
        if self._progress:
            text = "measuring and saving" if last else text
            self._progress.update(self._task, completed=share, description=text)
        elif (now := time.monotonic()) >= self._next or last:
            self._next = now + _LINE_EVERY_S
            to_stderr(f"{share:4.0%}  {text}")


@contextmanager
def _bar(*more: object) -> Iterator[object]:
    """A bar and a description that stay on one line of 80 columns, and more columns."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    one_line = Column(no_wrap=True, overflow="ellipsis")
    columns = (BarColumn(bar_width=10), TextColumn("{task.description}", table_column=one_line))
    # rich alone would break the lines of messages, also within the path of a run.
    progress = Progress(*columns, *more, console=Console(stderr=True, soft_wrap=True))
    with suppress(OSError):
        progress.start()
    try:
        with signals.undone(lambda: os.write(2, _SHOW_CURSOR)):
            yield progress
    finally:
        with suppress(OSError):  # the terminal may be gone
            progress.stop()


def _numbers(now: Numbers, done: float) -> str:
    """At most 68 columns, where losses are below 100 and less than a day is left."""
    left = timedelta(seconds=round(now.elapsed_s * (1 - done) / max(done, 1e-9)))
    return (
        f"{now.images_seen:,} images {now.images_per_s:.0f}/s "
        f"G {now.loss_g:.2f} D {now.loss_d:.2f} "
        f"sure {now.sure_real:.0%}/{1 - now.sure_fake:.0%}, {left} left"
    )
