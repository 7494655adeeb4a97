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
    sure_real: float  # mean probability of being real that D gives reals; 0.5 = it cannot tell
    sure_fake: float  # the same for fakes
    gradient_g: float  # norm over all weights
    gradient_d: float
    variety: float  # mean distance of two samples, relative to that of two reals
    augment_p: float  # of ADA: probability of each transformation
    batch_variety: float  # as variety, of the fakes of one step
    batch_nearest: float  # distance of a fake to the most similar one, relative to that of reals
    distance: float  # to the data, as last measured; 0 = not measured yet
    recall: float
    elapsed_s: float
    flags: tuple[str, ...] = ()  # problems reported for the first time


class Log:
    """Writes stats.jsonl, and TensorBoard events if the extra [track] is installed."""

    def __init__(self, run: Path, *, writes: bool) -> None:
        # Problems that were reported before the run was resumed.
        self.flags = {flag for row in logged(run) for flag in row.get("flags", ())}
        self._file = self._board = None
        if writes:
            self._file = (run / "stats.jsonl").open("a", encoding="utf-8")
            with suppress(ImportError):
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(run))

    def write(self, now: Progress) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps(asdict(now)) + "\n")
        self._file.flush()
        if self._board:
            for name, value in asdict(now).items():
                if isinstance(value, float) and name != "elapsed_s":
                    self._board.add_scalar(name, value, now.images_seen)

    def close(self) -> None:
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
