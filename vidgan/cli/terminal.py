"""What a person sees while a command works, on stderr: bars on a terminal, else plain lines."""

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

from cyclopts import Parameter, Token

from vidgan.errors import UsageError

_LINE_EVERY_S = 10.0
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


def to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


class _Stderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        to_stderr(self.format(record))


@contextmanager
def messages() -> Iterator[None]:
    """Print what the library logs. Of several processes, only the first one prints."""
    rank = int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)
    library, handler = logging.getLogger("vidgan"), logging.NullHandler() if rank else _Stderr()
    library.addHandler(handler)
    library.setLevel(logging.INFO)
    library.propagate = False  # a package may give the root logger a handler that prints all again
    try:
        yield
    finally:
        library.removeHandler(handler)
        library.propagate = True


@contextmanager
def rendering_bar(frames: int) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that takes the number of frames done, and of all frames to do."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    started = time.monotonic()

    def advance(done: int, total: int) -> None:
        speed = f"{done}/{total} {done / (time.monotonic() - started):.0f} frames/s"
        progress.update(task, completed=done, total=total, description=speed)

    with _bar() as progress:
        task = progress.add_task("starting", total=frames)
        yield advance


@contextmanager
def training_bar(*, images: int, duration_s: float) -> Iterator[Callable[[Numbers], None]]:
    """Yield a function that shows the numbers of a step. The bar ends at images or duration."""

    def share(now: Numbers) -> float:
        by_time = now.elapsed_s / duration_s if duration_s else 0.0
        return min(1.0, max(now.images_seen / images, by_time))

    if not sys.stderr.isatty():
        yield _plain(share)
        return
    with _bar() as progress:
        task = progress.add_task("starting", total=1.0)
        yield lambda now: progress.update(
            task,
            completed=share(now),
            description="measuring and saving" if share(now) == 1 else _numbers(now),
        )


def _bar() -> object:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(bar_width=16), TextColumn("{task.description}"), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def _plain(share: Callable[[Numbers], float]) -> Callable[[Numbers], None]:
    next_s = 0.0

    def show(now: Numbers) -> None:
        nonlocal next_s
        done = share(now)
        if now.elapsed_s >= next_s or done == 1:
            next_s = now.elapsed_s + _LINE_EVERY_S
            left = timedelta(seconds=round(now.elapsed_s * (1 - done) / max(done, 1e-9)))
            to_stderr(f"{done:4.0%}  {_numbers(now)}, {left} left")

    return show


def _numbers(now: Numbers) -> str:
    return (
        f"{now.images_seen:,} images {now.images_per_s:.0f}/s "
        f"G {now.loss_g:.2f} D {now.loss_d:.2f} "
        f"sure {now.sure_real:.0%}/{1 - now.sure_fake:.0%}"
    )
