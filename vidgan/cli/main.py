"""The command `vidgan`: its verbs, and errors made into one line and an exit code."""

import gc
import sys

from cyclopts import App, CycloptsError, Parameter

from vidgan import __version__
from vidgan.cli import doctor, export, render, terminal, train
from vidgan.errors import EXIT_INTERRUPTED, VidganError

app = App(
    name="vidgan",
    version=__version__,
    help="Train an image GAN on pictures or video, turn it into video, export it as ONNX.",
    suppress_keyboard_interrupt=False,  # main() reports it, in one line
    default_parameter=Parameter(negative=()),
)

for verb in (train.train, train.evaluate, render.render, render.sample, export.export):
    app.command(verb)
for verb in (export.serve, export.verify, export.import_, doctor.doctor):
    app.command(verb)


def main() -> None:
    try:
        with terminal.messages():
            app(sys.argv[1:], exit_on_error=False, print_error=False)
    except CycloptsError as error:
        verb = " ".join(["vidgan", *(error.command_chain or ())])
        _leave(f"{' '.join(str(error).split())} See {verb} --help.", 2)
    except VidganError as error:
        _leave(str(error), error.exit_code)
    except KeyboardInterrupt:
        _leave("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
    finally:
        gc.freeze()  # else Python would search all imported modules for garbage at exit


def _leave(line: str, code: int) -> None:
    terminal.to_stderr(f"vidgan: {line}")
    sys.exit(code)
