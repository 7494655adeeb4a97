"""What ends a command from outside: Ctrl-C, and the signals SIGTERM and SIGHUP.

The first one is raised in the main thread as `Interrupted`, so that every block cleans up behind
itself. A second one does not wait for that: what must not be left is deleted, and the process ends.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from vidgan.errors import Interrupted

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is unknown to Windows
NUMBERS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
_undone: list[Callable[[], None]] = []


def stop(number: int) -> None:
    raise Interrupted(number)


@contextlib.contextmanager
def caught(first: Callable[[int], None] = stop) -> Iterator[list[int]]:
    """Call `first` with the number of the first signal within the block, in the main thread.

    A second signal ends the process at once, as does one that `stop` would have raised in the
    middle of an import. Signals that the caller of the command ignores, as nohup does, stay
    ignored. Yields a list that holds the number after the first signal.
    """
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        answer(leave)
        if first is stop and _importing(frame):
            leave(number)
        received.append(number)
        first(number)

    before = {}
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        before = {n: h for n in NUMBERS if (h := signal.getsignal(n)) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) != signal.SIG_IGN:  # see `ignore`
                signal.signal(number, handler)


def answer(handler: Callable) -> None:
    """Set the handler of all signals that are not ignored yet."""
    for number in NUMBERS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported: where torch's is, its C++ code aborts at an exception."""
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def leave(number: int, _: object = None) -> None:
    """A handler that ends the process at once, with the line and the exit code of `main`."""
    ignore()
    for undo in reversed(_undone):
        with contextlib.suppress(Exception):
            undo()
    interrupted = Interrupted(number)
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(2, f"vidgan: {interrupted}\n".encode())
    os._exit(interrupted.exit_code)


def ignore() -> None:
    """Ignore signals from now on: the exit code of the process is settled."""
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def undone(undo: Callable[[], None]) -> Iterator[None]:
    """Call `undo` if the process leaves at once while it is in the block."""
    _undone.append(undo)
    try:
        yield
    finally:
        _undone.remove(undo)
