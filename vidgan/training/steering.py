"""What viewers of a run ask for, done between two steps, and what the page shows of a step.

A change takes effect at a definite number of images seen, at which stats.jsonl notes it, so that a
run that is resumed from before does it again there. A run that nobody steers is not touched.
"""

import json
import logging
import time
from contextlib import suppress
from dataclasses import asdict, replace

import numpy as np

from vidgan.disk import files
from vidgan.errors import SystemFault
from vidgan.networks import losses, pixels
from vidgan.training import live, run_folder
from vidgan.training.average import save_run
from vidgan.training.batches import Batch, augmentation
from vidgan.training.log import Change, Knobs, Log, changes, read_line
from vidgan.training.state import Run
from vidgan.training.step import Outcome

logger = logging.getLogger(__name__)
_ASK_EVERY_S, _SHOW_EVERY_S = 0.05, 5.0
_SHARE = 1 / 150  # of the training's time, that pictures of a step may take
_SHOWN = 8  # pictures in a row


class Steering:
    """Does what is asked for in the folder `live` of a run, as long as one process trains it.

    received   as of `signals.caught`; who asks to stop adds 0
    """

    def __init__(self, run: Run, received: list[int]) -> None:
        self._run, self._received = run, received
        self._folder = run.folder / live.FOLDER
        self._due = [c for c in changes(run.folder) if c.images_seen >= run.state.images_seen]
        self._paused, self._steps, self._read = False, 0, 0
        self._steers = run.fabric.world_size == 1  # else all would have to hear of it at one step
        self._branches: list[str] = []
        self._shown_at, self._show_next = -1, 0.0  # images seen, time
        self._redo()
        if run.is_first:
            files.remove(self._folder)  # that of a process that was killed
            with files.disk_faults(self._folder):
                self._folder.mkdir(exist_ok=True)
            self._tell()

    def follow(self, run: Run, log: Log) -> None:
        """From now on, steer this part of the run, which may have more pictures than before."""
        self._run, self._log = run, log

    def close(self) -> None:
        if self._run.is_first:
            files.remove(self._folder)

    def listen(self) -> bool:
        """Do what viewers have asked for since the step before. Returns whether the run pauses."""
        self._redo()
        for asked in self._asked():
            if asked.do == "pause" and not self._paused:
                logger.info(f"paused on its page; to go on: vidgan live {self._run.folder}")
            self._paused = {"pause": True, "step": True, "go": False}.get(asked.do, self._paused)
            self._steps += asked.do == "step"
            if asked.do == "turn":
                self._turn(asked.to)
            elif asked.do == "branch":
                self._branch()
            elif asked.do == "stop" and not self._received:
                self._received.append(0)
            self._tell()
        return self._paused

    def hold(self, batch: Batch, outcome: Outcome) -> float:
        """Show the step to those who look, and wait while the run pauses: so many seconds."""
        self._show(batch, outcome)
        began = time.monotonic()
        while self._paused and not self._steps and not self._received:
            time.sleep(_ASK_EVERY_S)
            self.listen()
            self._show(batch, outcome)
        self._steps = max(0, self._steps - 1)
        return time.monotonic() - began

    def _redo(self) -> None:
        """Do again what was changed before the run was resumed."""
        while self._due and self._due[0].images_seen <= self._run.state.images_seen:
            self._run.state.turn(self._due.pop(0).knobs)

    def _asked(self) -> list[live.Asked]:
        """What viewers have asked for since the last call."""
        path, lines = self._folder / live.ASKED, b""
        with suppress(OSError):  # nobody has asked for anything
            if self._steers and path.stat().st_size > self._read:
                lines, newline, _ = path.read_bytes()[self._read :].rpartition(b"\n")
                self._read += len(lines + newline)
        return [a for line in lines.splitlines() if (a := read_line(line, live.Asked))]

    def _turn(self, to: Knobs) -> None:
        state = self._run.state
        if to.given.keys() <= self._knobs().keys():
            state.turn(replace(state.knobs, **to.given))
            self._due = []
            self._log.write(Change(images_seen=state.images_seen, knobs=state.knobs))

    def _knobs(self) -> dict[str, float]:
        """What can be turned in this run, and how it stands."""
        kind, how = augmentation(self._run), self._run.settings.train
        keys = ["learning_rate_g", "learning_rate_d", *["augment_p"] * (kind != "none")]
        keys += [key for key in ("r1", "r2") if getattr(how, key)]
        return {key: self._run.knob(key) for key in keys}

    def _tell(self) -> None:
        """Write what the page must know of the run beside stats.jsonl."""
        now = {"paused": self._paused, "stops": bool(self._received), "steers": self._steers}
        now |= {"recipe": asdict(self._run.settings.train), "augment": augmentation(self._run)}
        now |= {"knobs": self._knobs(), "branches": self._branches}
        files.write_bytes(self._folder / live.NOW, json.dumps(now).encode())

    def _branch(self) -> None:
        run = self._run
        try:
            with run_folder.branch(run.folder, run.dataset, run.model) as new:
                save_run(replace(run, folder=new))
        except SystemFault as fault:  # which is no reason to end this run
            logger.warning(f"no branch: {fault}")
            return
        self._branches.append(str(new))
        logger.info(f"{new}: a copy of this run. To train it: vidgan train --resume {new}")

    def _show(self, batch: Batch, outcome: Outcome) -> None:
        """Write what D believes most and least of a batch: two rows of reals, two of fakes."""
        seen, now = self._run.state.images_seen, time.monotonic()
        due = seen != self._shown_at and (now >= self._show_next or self._paused)
        if not (self._run.is_first and due and live.looked(self._folder)):
            return
        began, rows = time.thread_time(), []
        for maps, made in ((outcome.r, batch.real), (outcome.f, pixels.to_frames(outcome.fake))):
            order = losses.per_picture(maps).argsort(descending=True).cpu().numpy()
            made = made.cpu().numpy()
            rows += [made[np.resize(places, _SHOWN)] for places in (order, order[::-1])]
        run_folder.write_grid(self._folder / live.BELIEVED, np.concatenate(rows))
        took_s = time.thread_time() - began
        self._shown_at, self._show_next = seen, now + max(_SHOW_EVERY_S, took_s / _SHARE)
