"""The command `vidgan`: its verbs, and errors made into one line and an exit code."""

import gc
import os
import signal
import sys

from cyclopts import (
    App,
    CycloptsError,
    Parameter,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from vidgan import __version__, signals
from vidgan.cli import choose, directions, doctor, edit, export, lab, pick, render, terminal, train
from vidgan.cli import motion as motions
from vidgan.cli.live import live
from vidgan.errors import (
    Interrupted,
    SystemFault,
    UsageError,
    VidganError,
    of_import,
    out_of_memory,
)

_NOTHING = "return_value"  # cyclopts would print what a verb returns, or end the process
# What people type for options that are called otherwise, and that difflib would not guess.
_RESUME = "vidgan train --resume RUN, where RUN is a folder in runs/"
_MEANT = {
    "vidgan": {"resume": _RESUME, "continue": _RESUME},
    "render": {"size": "resolution", "duration": "seconds", "length": "seconds", "time": "seconds"},
    "train": {"resolution": "size", "time": "for", "duration": "for", "epochs": "for"},
}
app = App(
    name="vidgan",
    version=__version__,
    help="Train an image GAN on pictures or video, turn it into video, export it as ONNX.",
    suppress_keyboard_interrupt=False,  # main() reports it, in one line
    default_parameter=Parameter(negative=()),
)

for verb in (train.train, train.evaluate, render.render, choose.sample, pick.pick, choose.keep):
    app.command(verb)
for verb in (edit.invert, edit.restore, directions.directions, edit.dissect, export.export):
    app.command(verb)
for verb in (export.serve, export.verify, export.import_, lab.lab, doctor.doctor):
    app.command(verb)
app.command(motions.motion)
app.command(live)


def main() -> None:
    """Run the command in sys.argv, and end with its exit code."""
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")  # what MPS lacks runs on the CPU
    with signals.caught() as received:
        error = None
        try:
            with terminal.messages():
                app(sys.argv[1:], exit_on_error=False, print_error=False, result_action=_NOTHING)
        except BaseException as raised:
            # A library may have made another error of an interruption.
            error = Interrupted(received[0]) if received else raised
        unexplained = isinstance(error, OSError)
        lost = terminal.end_of_stdout(probe=unexplained)
        if lost and (unexplained or error is None):
            reason = f"stdout: cannot be written ({lost.strerror})."
            error = None if isinstance(lost, BrokenPipeError) else SystemFault(reason)
        line, code = _said_of(error)
        if line:
            terminal.error(line)
        gc.freeze()  # else Python would search all imported modules for garbage at exit
        sys.exit(code)


def _said_of(error: BaseException | None) -> tuple[str, int]:
    """The line to print and the exit code. An error that is a bug is raised again."""
    match error:
        case None:
            return "", 0
        case SystemExit():
            # rich ends with 1 if nobody reads the help any more, as in `vidgan --help | head`.
            unread = isinstance(error.__context__, BrokenPipeError)
            return "", 0 if unread else error.code
        case CycloptsError():
            verb = " ".join(["vidgan", *(error.command_chain or ())])
            said = " ".join(str(error).split())
            if isinstance(error, UnusedCliTokensError):
                said = f"{' '.join(error.unused_tokens)}: more than the command takes."
                said += " Lists have commas: 3,5,7."
            elif isinstance(error, UnknownCommandError):
                if meant := _MEANT["vidgan"].get(error.unused_tokens[0]):
                    said = f"Unknown command: {error.unused_tokens[0]}. Did you mean {meant}?"
            elif isinstance(error, UnknownOptionError):
                typed = (error.token.keyword or error.token.value).partition("=")[0]
                if meant := _MEANT.get(verb.split()[-1], {}).get(typed.strip("-")):
                    said = f"Unknown option: {typed}. Did you mean --{meant}?"
            return f"{said} See {verb} --help.", UsageError.exit_code
        case VidganError() | Interrupted():
            return str(error), error.exit_code
        case Exception() if out_of_memory(error):
            fault = " ".join(f"the memory is full ({error!s:.200})".split())
            return f"{fault}; ask for less, or for a smaller size.", SystemFault.exit_code
        case ImportError() if fault := of_import(error):
            return _said_of(fault)
        case KeyboardInterrupt():
            return _said_of(Interrupted(signal.SIGINT))
    raise error
