"""The process of the command `vidgan`. A signal is answered from here on, and until its end."""

import os
import sys

from vidgan import signals
from vidgan.errors import of_import


def main() -> None:
    # What is imported now takes a tenth of a second or more. Nothing is written yet.
    signals.answer(signals.leave)
    # Where a stream is closed, the next file to be opened would get its number and its output.
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    nowhere = os.fdopen(null, "w")
    sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    try:
        from vidgan.cli.main import main
    except ImportError as error:
        if fault := of_import(error):
            sys.stderr.write(f"vidgan: {fault}\n")
            sys.exit(fault.exit_code)
        raise
    try:
        main()
    finally:
        signals.ignore()  # Python takes its handlers away before the process ends


if __name__ == "__main__":
    main()
