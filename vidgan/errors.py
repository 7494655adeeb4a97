"""What a user can do wrong, as a tree of exceptions.

The command prints such an error as one line (what, where, how to fix) and leaves with its exit
code. Anything else that escapes is a bug in vidgan and shows its traceback.

    VidganError
    ├── UsageError       2   an argument or option that cannot be
    │   └── ConfigError      a recipe or config file
    ├── DataError        3   pictures or film that cannot be trained on
    ├── ModelError       4   a generator, checkpoint or export that cannot be used
    ├── SystemFault      5   disk, codec, a missing extra: the machine, not the request
    └── DivergedError    6   training left the numbers
"""

EXIT_INTERRUPTED = 130


class VidganError(Exception):
    """One line for a person: what happened, where, and the way out."""

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
