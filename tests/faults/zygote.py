"""Real commands in real processes, started within milliseconds.

A process that has imported all of vidgan, and has one thread, forks for each command. The child is
a process of its own, in a group of its own, that runs `vidgan WORDS` from the first line to the
exit code. Only the seconds that Python takes to import torch are missing.
"""

import contextlib
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
_POLL_S = 0.005
IMPORTED = (
    *("vidgan.cli.main", "vidgan.training.loop", "vidgan.generator.export", "vidgan.film.sound"),
    *("vidgan.render.pipeline", "vidgan.render.walk", "vidgan.data.cache", "vidgan.marks.c2pa"),
    *("vidgan.generator.import_weights", "vidgan.generator.selftest", "vidgan.quality.evaluate"),
    *("tifffile", "imageio.v3", "torch.onnx", "onnxscript", "torch.utils.tensorboard"),
    *("lightning_fabric.strategies", "torch.distributed", "torch.nn.parallel"),
)


class Zygote:
    """Forks commands. A child is killed, waited for and read as any process."""

    def __init__(self) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            text=True,
        )

    def start(
        self,
        words: Sequence[object],
        folder: Path,
        *,
        env: Mapping[str, str] = {},
        call: str = "vidgan.__main__:main",
        limits: Mapping[str, int] = {},
    ) -> int:
        """Run `vidgan WORDS` in a folder. Its output goes to a file beside it. Returns its id.

        limits  as `resource` names them; RLIMIT_AS counts beyond what is imported
        """
        output = folder.with_name(f"{folder.name}.output")
        job = {"words": [*map(str, words)], "folder": str(folder), "env": dict(env), "call": call}
        return self._ask(job | {"output": str(output), "limits": dict(limits)})

    def ended(self, process: int) -> int | None:
        """Its exit code, -9 after SIGKILL; None while it runs. After the end, ask no more."""
        return self._ask({"ended": process})

    def wait(self, process: int, *, patience_s: float = 300.0) -> int:
        """Its exit code. A command that takes longer is killed, with all that it started."""
        deadline = time.monotonic() + patience_s
        while (code := self.ended(process)) is None:
            if time.monotonic() > deadline:
                kill(process)
                while self.ended(process) is None:
                    time.sleep(_POLL_S)
                raise TimeoutError(f"process {process} took longer than {patience_s:.0f} s")
            time.sleep(_POLL_S)
        return code

    def run(self, words: Sequence[object], folder: Path, **how: object) -> tuple[int, str]:
        """The exit code of a command, and what it printed."""
        code = self.wait(self.start(words, folder, **how))
        return code, said(folder)

    def _ask(self, job: dict[str, object]) -> int | None:
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


def said(folder: Path) -> str:
    """What the last command in a folder printed."""
    return folder.with_name(f"{folder.name}.output").read_text(errors="replace")


def kill(process: int) -> None:
    """SIGKILL to a command and to all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def _serve() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    for line in iter(sys.stdin.readline, ""):
        job = json.loads(line)
        if "ended" in job:
            process, status = os.waitpid(job["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if process else None
        else:
            assert len([*Path("/proc/self/task").iterdir()]) == 1  # a fork keeps no other thread
            answer = os.fork()
            if not answer:
                _become(job)
            with contextlib.suppress(OSError):  # the child has done it, or is gone
                os.setpgid(answer, answer)
        print(json.dumps(answer), file=answers, flush=True)


def _become(job: dict) -> None:
    """In the child: be the command, and end with its exit code."""
    os.setpgid(0, 0)
    with Path(os.devnull).open() as nothing, Path(job["output"]).open("wb") as output:
        for source, number in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source.fileno(), number)
    with Path("/proc/self/statm").open() as statm:
        used = {"RLIMIT_AS": int(statm.read().split()[0]) * resource.getpagesize()}
    for name, limit in job["limits"].items():
        resource.setrlimit(getattr(resource, name), (limit + used.get(name, 0), -1))
    os.chdir(job["folder"])
    os.environ.update(job["env"])
    sys.argv = ["vidgan", *job["words"]]
    module, _, name = job["call"].partition(":")
    getattr(importlib.import_module(module), name)()
    sys.exit()


if __name__ == "__main__":
    _serve()
