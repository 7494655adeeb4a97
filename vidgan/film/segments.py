"""A film in segments: closed pieces in a hidden folder beside the target, joined by stream copy.

Each segment is a whole small film of its own, so it may be made by any process at any time: a
killed render goes on where it stopped, and several processes share one film. What the frames depend
on stands in a manifest; other segments are never joined. Knows nothing of models and paths.
"""

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import IO

import av

from vidgan.disk.files import disk_faults, publish, remove, write_bytes
from vidgan.disk.locks import take_lock
from vidgan.errors import SystemFault, UsageError
from vidgan.film import codecs
from vidgan.film.writer import VideoWriter
from vidgan.marks import xmp

logger = logging.getLogger(__name__)

SEGMENT_FRAMES = 240  # below x264's own limit of 250, so that a segment costs no further key frame
_POLL_S = 0.05
_PATIENCE_S = 600.0  # in which rank 0 takes away what an older render left


def check(target: Path, *, resume: bool, world: int) -> None:
    """Refuse to resume or share what cannot be joined, while nothing is lost yet."""
    asked = "--resume" if resume else f"a render by {world} processes"
    if (resume or world > 1) and not codecs.kind_of(target).voice:
        raise UsageError(
            f"{target}: {asked} needs a kind whose parts are joined without encoding again: "
            f"{', '.join(codecs.FILMS)}."
        )


def folder_of(target: Path) -> Path:
    """Where the segments of a target stand while it is not finished."""
    return target.absolute().with_name(f".{target.name}.segments")


class Film:
    """The pieces of one target that this process has to write, and the target at the end.

    writer        what says target and settings; it is copied for each piece
    key           all else that the frames depend on, as JSON; --resume compares it
    rank, world   this process, and how many share the film through the file system

    Segments are left behind by a process that was killed, or that was interrupted with `resume`.
    With more than one process, rank 0 prepares, waits for all and joins; segments with an equal
    manifest are then taken over as with `resume`; it takes the folder away only when all have come.
    A kind that cannot be joined is one piece.
    """

    def __init__(
        self,
        writer: VideoWriter,
        *,
        frames: int,
        key: Mapping[str, object],
        resume: bool = False,
        rank: int = 0,
        world: int = 1,
        segment_frames: int = SEGMENT_FRAMES,
    ) -> None:
        check(writer.target, resume=resume, world=world)
        self._writer, self._frames, self._resume = writer, frames, resume
        self._rank, self._world, self._keep = rank, world, resume or world > 1
        self._target, self._folder = writer.target, folder_of(writer.target)
        self._joined = codecs.kind_of(writer.target).voice is not None
        self._length = segment_frames if self._joined else frames
        facts = {"format": "vidgan-segments-1", "frames": frames, "segment": self._length}
        # As JSON gives it back, so that it can be compared with what a file holds.
        self._manifest = json.loads(json.dumps(facts | writer.settings | dict(key), default=str))

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """Around the writing of the pieces: the folder before, the target or nothing after it."""
        if not self._joined:
            yield
            return
        self._check_begun()
        lock = self._locked() if self._rank == 0 else None
        try:
            if lock:
                self._prepare()
            else:
                self._wait_for_rank_0()
                self._arrival(self._rank).touch()
            yield
            if lock:
                self._finish()
        except KeyboardInterrupt:
            if lock and self._resume:
                lock.close()
                lock = None
                logger.info(f"{self._target}: stopped; the same command goes on from here.")
            raise
        finally:
            if lock:
                self._leave(lock)

    def missing(self) -> Iterator[range]:
        """The frames of each piece that this process has yet to write, in order."""
        for number, piece in enumerate(self._pieces()):
            if number % self._world == self._rank and not (
                self._keep and self._file(piece).exists()
            ):
                yield piece

    def open(self, piece: range) -> VideoWriter:
        """A writer for the frames of one piece; it appears when it is whole."""
        return self._writer.copy(self._file(piece)) if self._joined else self._writer

    def _pieces(self) -> Iterator[range]:
        for start in range(0, self._frames, self._length):
            yield range(start, min(start + self._length, self._frames))

    def _file(self, piece: range) -> Path:
        return self._folder / f"{piece.start:09d}{self._target.suffix.lower()}"

    def _arrival(self, rank: int) -> Path:
        """Is there as soon as that process is past all checks, which a finished film would fail."""
        return self._folder / f"rank{rank}"

    def _found(self) -> dict[str, object]:
        try:
            return json.loads((self._folder / "manifest.json").read_text())
        except (OSError, ValueError):
            return {}

    def _differing(self, found: Mapping[str, object]) -> str:
        wanted = self._manifest
        return ", ".join(k for k in sorted(wanted.keys() | found) if wanted.get(k) != found.get(k))

    def _wait_for_rank_0(self) -> None:
        since = time.monotonic()
        while (found := self._found()) != self._manifest:  # it is still preparing
            if time.monotonic() - since > _PATIENCE_S:
                reason = f"has another {self._differing(found)} than" if found else "saw nothing of"
                raise UsageError(
                    f"{self._target}: rank {self._rank} {reason} rank 0; start all together, with "
                    "the same command, model and versions."
                )
            time.sleep(_POLL_S)

    def _check_begun(self) -> None:
        found = self._found()
        if self._resume and found and found != self._manifest:
            raise UsageError(
                f"--resume: {self._target} was begun with another {self._differing(found)}; repeat "
                "that command, or leave out --resume to start anew."
            )

    def _locked(self) -> IO[str]:
        """The folder's lock, until it is closed or this process ends."""
        path = self._folder / "lock"
        with disk_faults(self._folder, cache=False):
            self._folder.mkdir(exist_ok=True)
            lock = path.open("a")
            # Whoever had it may have taken it away since it was opened here.
            if not take_lock(lock.fileno()) or not _is_at(lock, path):
                lock.close()
                raise SystemFault(f"{self._target}: another process is rendering it; end that.")
        return lock

    def _leave(self, lock: IO[str]) -> None:
        """Take the folder away, the lock last: who finds none begins a folder of its own."""
        with contextlib.suppress(OSError):
            self._empty()
            if sys.platform == "win32":  # which keeps a file that is open
                lock.close()
            (self._folder / "lock").unlink()
            self._folder.rmdir()
        lock.close()

    def _empty(self) -> None:
        for old in self._folder.iterdir():
            if old.name != "lock":
                remove(old)

    def _prepare(self) -> None:
        """Take over what lies in the folder with the same manifest if wanted, or else empty it."""
        if self._keep and self._found() == self._manifest:
            held = sum(len(piece) for piece in self._pieces() if self._file(piece).exists())
            logger.info(f"{self._target}: {held} of {self._frames} frames are there already.")
            return
        if self._resume:
            logger.info(f"{self._target}: nothing to resume, starting with frame 0.")
        with disk_faults(self._folder, cache=False):
            self._empty()
        write_bytes(self._folder / "manifest.json", json.dumps(self._manifest, indent=1).encode())

    def _finish(self) -> None:
        counts = {self._file(piece): len(piece) for piece in self._pieces()}
        others = map(self._arrival, range(1, self._world))
        for awaited in [*counts, *others] if self._world > 1 else ():
            while not awaited.exists():
                time.sleep(_POLL_S)
        whole = next(iter(counts))  # already what the target shall be, if it is the only one
        try:
            if len(counts) > 1:
                whole = self._folder / f"joined{self._target.suffix.lower()}"
                join(counts, whole, fps=self._writer.fps)
            self._writer.seal(whole)
            publish(whole, self._target)
        except (OSError, av.FFmpegError) as error:
            raise SystemFault(f"{self._target}: cannot be written ({error.strerror}).") from error


def _is_at(file: IO[str], path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())


def join(counts: Mapping[Path, int], target: Path, *, fps: Fraction) -> None:
    """Copy films of equal settings, each with its number of frames, into one with the same mark.

    Times come from the running number of the frame, so that rounding never adds up.
    Raises SystemFault where a film holds another number of frames.
    """
    comment = (xmp.find_mark(next(iter(counts))) or {}).get("comment")
    kind, stream, first = codecs.kind_of(target), None, 0
    options = codecs.muxer_options(kind, fps)
    with av.open(str(target), "w", format=kind.container, container_options=options) as film:
        for file, count in counts.items():
            with av.open(str(file)) as source:
                template, seen = source.streams.video[0], 0
                clock = Fraction(template.time_base.numerator, template.time_base.denominator)
                ticks = 1 / (clock * fps)  # per frame
                if stream is None:
                    film.metadata.update(source.metadata)
                    stream = codecs.add_copied(film, template)
                    stream.time_base = clock
                    early = codecs.EARLY * bool(template.codec_context.has_b_frames)
                for packet in source.demux(template):
                    if not packet.size:  # the last one is empty and only ends the stream
                        break
                    at, dts = first + round(packet.pts / ticks), first + seen - early
                    packet.pts, packet.dts, end = (round(i * ticks) for i in (at, dts, at + 1))
                    packet.duration, packet.stream = end - packet.pts, stream
                    film.mux(packet)
                    seen += 1
            if seen != count:
                raise SystemFault(f"{file}: damaged, {seen} of {count} frames; render again.")
            first += count
    xmp.append_mark(target, comment)
