"""The logs of a run: stats.jsonl, a line of numbers each second and one for each setting changed on
the way, and commands.jsonl, a line for each command that started or continued it.

Both are only read to be shown or to go on, so a line that cannot be read is left out.
"""

import json
import logging
import math
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeVar

from vidgan import config
from vidgan.disk.files import disk_faults
from vidgan.errors import ConfigError

logger = logging.getLogger(__name__)
Row = TypeVar("Row")


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
    # Mean distance of two samples, relative to two reals. None = none made since the line before.
    variety: float | None
    augment_p: float  # of ADA: probability of each transformation
    batch_variety: float  # as variety, of the fakes of one step
    batch_nearest: float  # distance of a fake to the most similar one, relative to that of reals
    distance: float | None  # to the data, as last measured; None = not measured yet
    recall: float | None  # (an older version wrote 0 there)
    elapsed_s: float  # of training, also before the run was resumed
    flags: tuple[str, ...] = ()  # problems reported for the first time
    class_variety: float | None = None  # as variety, of the class that varies least, if any


class Show:
    """What shows a person how far a run is. This one shows nothing."""

    def decoding(self, done: int, total: int) -> None:
        """How many pictures of the data are decoded, of about how many."""

    def begins(self, folder: Path) -> None:
        """The run has a folder."""

    def training(self, now: Progress, share: float) -> None:
        """The numbers of a step, and the share of the run that is done."""


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """Settings of [train] that were changed while the run went on; None = never changed."""

    learning_rate_g: float | None = None
    learning_rate_d: float | None = None
    r1: float | None = None
    r2: float | None = None
    augment_p: float | None = None  # held at this; AUTO = ADA adapts it

    def __post_init__(self) -> None:
        for key, value in self.given.items():
            below = {"r1": 1e6, "r2": 1e6, "augment_p": 1.0}.get(key, 0.1)
            if not 0 <= value <= below and (key, value) != ("augment_p", config.AUTO):
                raise ConfigError(f"{key} = {value}: from 0 to {below:g}.")

    @property
    def given(self) -> dict[str, float]:
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Change:
    """A line of stats.jsonl between two steps: all that is changed from then on."""

    images_seen: int
    knobs: Knobs


@dataclass(frozen=True, kw_only=True)
class Command:
    """One line of commands.jsonl. What a command changes in a run is only how long it trains."""

    command: str
    images_seen: int  # by the run, when it was given
    images: int  # these three are the keys of [train] that are in force from then on
    duration_s: float
    stop_past_best: bool


class Log:
    """Writes stats.jsonl, and TensorBoard events if the extra [track] is installed."""

    def __init__(self, run: Path, *, writes: bool) -> None:
        rows, path = logged(run), run / "stats.jsonl"
        # What was reported and found before the run was resumed.
        self.flags = {flag for row in rows for flag in row.flags}
        self.last = rows[-1] if rows else None
        self.varieties = [row.variety for row in rows if row.variety is not None]
        self._file = self._board = None
        if writes:
            _warn_of_lost_lines(path, Progress)
            self._file, self._path = _opened(path), path
            with suppress(ImportError):
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(run))

    def write(self, now: Progress | Change) -> None:
        if self._file is None or not _finite(now):  # fp16 skips a step now and then
            return
        with disk_faults(self._path):
            self._file.write(_line(now))
        if self._board:
            for name, value in asdict(now).items():
                if isinstance(value, float) and name != "elapsed_s":
                    self._board.add_scalar(name, value, now.images_seen)

    def close(self) -> None:
        for sink in (self._file, self._board):
            if sink:
                sink.close()


def logged(run: Path) -> list[Progress]:
    """The numbers of stats.jsonl. Of steps that a resumed run did again, only the last ones."""
    return _last_of(_rows(run / "stats.jsonl", Progress)[0], Progress)


def changes(run: Path) -> list[Change]:
    """The changes of stats.jsonl. One made in steps done again replaces all after it."""
    return _last_of(_rows(run / "stats.jsonl", Progress)[0], Change)


def _last_of(rows: list[Progress | Change], kind: type[Row]) -> list[Row]:
    found, first = [], math.inf
    for row in reversed(rows):
        if isinstance(row, kind) and row.images_seen < first:
            found.append(row)
            first = row.images_seen
    return found[::-1]


def note_command(run: Path, command: str, settings: config.Config, images_seen: int) -> None:
    """Append a line to commands.jsonl. Raises SystemFault."""
    how, path = settings.train, run / "commands.jsonl"
    goal = {key: getattr(how, key) for key in ("images", "duration_s", "stop_past_best")}
    with disk_faults(path), _opened(path) as file:
        file.write(_line(Command(command=command, images_seen=images_seen, **goal)))


def commands(run: Path) -> list[Command]:
    return _rows(run / "commands.jsonl", Command)[0]


def continued(run: Path, settings: config.Config) -> config.Config:
    """The settings that a run was made with, but training as long as its last command said."""
    _warn_of_lost_lines(run / "commands.jsonl", Command)
    model = settings.model  # an older run has three colours and does not say so
    settings = replace(settings, model=replace(model, colours=model.colours or 3))
    for last in commands(run)[-1:]:
        goal = {"images": last.images, "duration_s": last.duration_s}
        goal["stop_past_best"] = last.stop_past_best
        with suppress(ConfigError):
            return replace(settings, train=replace(settings.train, **goal))
    return settings


def _line(row: object) -> bytes:
    return json.dumps(asdict(row)).encode() + b"\n"


def _finite(row: object) -> bool:
    return all(math.isfinite(x) for x in vars(row).values() if isinstance(x, int | float))


def _opened(path: Path) -> BinaryIO:
    """The file to append lines to. A last line that a kill has cut stays a line of its own."""
    with disk_faults(path):
        file = path.open("a+b", buffering=0)
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        return file


def _rows(path: Path, kind: type[Row]) -> tuple[list[Row | Change], int]:
    """The lines that can be read, and the number of the others."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:  # there is none, or what is written next says what is wrong
        return [], 0
    rows = [row for line in lines if (row := read_line(line, kind))]
    return rows, len(lines) - len(rows)


def read_line(line: bytes, kind: type[Row]) -> Row | Change | None:
    """What a line says; None if it cannot be read."""
    # Whatever lies there: not UTF-8, no JSON, another table, NaN, lists a million deep.
    with suppress(ValueError, TypeError, OverflowError, RecursionError, ConfigError):
        table = json.loads(line)
        row = config.from_dict(table, Change if "knobs" in table else kind)
        return row if _finite(row) else None
    return None


def _warn_of_lost_lines(path: Path, kind: type) -> None:
    if lost := _rows(path, kind)[1]:
        logger.warning(f"{path}: left out what cannot be read in it (lines: {lost:,}).")
