"""The log of a run: stats.jsonl, one line of numbers a second."""

import json
import typing
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One line of stats.jsonl, and what the progress bar shows."""

    images_seen: int
    images_per_s: float
    loss_g: float
    loss_d: float
    sure_real: float  # mean probability D gives reals; 0.5 = cannot tell
    sure_fake: float  # ... gives fakes
    gradient_g: float  # norm over all weights
    gradient_d: float
    variety: float  # of the previews: distance between two of them, that of two reals being 1
    augment_p: float  # of ADA: probability of each distortion
    batch_variety: float  # the same of the fakes of a step
    batch_nearest: float  # ... of each to the one most like it
    distance: float  # to the data, as last measured; 0 = never yet
    recall: float
    elapsed_s: float
    flags: tuple[str, ...] = ()  # troubles named for the first time


class Log:
    """stats.jsonl, and TensorBoard events where the extra [track] is installed."""

    def __init__(self, run: Path, *, writes: bool) -> None:
        # What was named before the run was resumed.
        self.flags = {flag for row in logged(run) for flag in row.get("flags", ())}
        self._file = (run / "stats.jsonl").open("a", encoding="utf-8") if writes else None
        self._board = _tensorboard(run) if writes else None

    def write(self, now: Progress) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps(asdict(now)) + "\n")
        self._file.flush()
        if self._board:
            for name, value in asdict(now).items():
                if isinstance(value, float) and name != "elapsed_s":
                    self._board.add_scalar(name, value, now.images_seen)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        for sink in (self._file, self._board):
            if sink:
                sink.close()


def logged(run: Path) -> list[dict[str, typing.Any]]:
    """The lines of stats.jsonl."""
    rows, path = [], run / "stats.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):  # cut off when the run was killed
            rows.append(json.loads(line))
    return rows


def _tensorboard(run: Path) -> object | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(run))
