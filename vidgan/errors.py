"""What a user can do wrong, as a tree of exceptions.

The command prints such an error as one line (what happened, where, how to fix it) and ends with its
exit code. Any other exception is a bug in vidgan and shows its traceback.

    VidganError
    ├── UsageError       2   an argument or an option that is wrong
    │   └── ConfigError      a recipe, a config file or a walk that is wrong
    ├── DataError        3   pictures, films or sounds that cannot be read or used
    ├── ModelError       4   a generator, a checkpoint or an export that cannot be used
    ├── SystemFault      5   a fault of the machine: a full disk, a missing codec or package
    └── DivergedError    6   training diverged

    KeyboardInterrupt
    └── Interrupted    128 + the number of a signal: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP
"""

import re
import signal
import traceback

# What torch and ONNX Runtime say, on a CPU as on a GPU; most of it without a class of its own.
_NO_MEMORY = re.compile(
    r"(can't|cannot|failed to) allocate|out of memory|not enough memory|ALLOC_FAILED|bad_alloc",
    re.IGNORECASE,
)


class VidganError(Exception):
    """A message of one line: what happened, where, and how to fix it."""

    exit_code = 1


class UsageError(VidganError):
    exit_code = 2


class ConfigError(UsageError):
    pass


class DataError(VidganError):
    exit_code = 3


class ModelError(VidganError):
    exit_code = 4


class SystemFault(VidganError):
    exit_code = 5


class DivergedError(VidganError):
    exit_code = 6


class Interrupted(KeyboardInterrupt):
    """A signal that ends the command. Code that cleans up after Ctrl-C cleans up after it too."""

    def __init__(self, number: int) -> None:
        by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        super().__init__(f"interrupted{by}")
        self.number, self.exit_code = number, 128 + number


def out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the machine or of its GPU was too small."""
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error)))


def of_import(fault: Exception, package: str = "") -> SystemFault | None:
    """What to say of a package that is missing or broken; None if it is a module of vidgan's."""
    if isinstance(fault, ImportError):
        *_, (frame, _) = traceback.walk_tb(fault.__traceback__)  # where a broken package raised it
        package = fault.name or frame.f_globals.get("__name__", "")
    package, reason = package.partition(".")[0], " ".join(str(fault).split())[:200]
    if package == "vidgan":
        return None
    return SystemFault(
        f"{package}: cannot be imported ({reason}). Install vidgan and its packages again, in the "
        "folder of its README.md: pip install --force-reinstall ."
    )
