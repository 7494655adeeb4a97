"""A film in segments: short films in a hidden folder beside the target, joined without encoding.

Any process can write a segment at any time, so that a killed render can continue and several
processes can share one. A manifest says what the frames depend on; only equal ones are joined.
"""

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av

from vidgan import signals
from vidgan.disk import locks
from vidgan.disk.files import disk_faults, publish, remove, write_bytes
from vidgan.errors import SystemFault, UsageError
from vidgan.film import codecs
from vidgan.film.target import Target
from vidgan.film.writer import VideoWriter
from vidgan.marks import xmp

logger = logging.getLogger(__name__)
SEGMENT_FRAMES = 240  # x264 starts a new group at 250 frames: a shorter segment adds no keyframe
_NAMES = {"path": "walk", "comment": "walk", "runtime": "runtime or device"}  # for people
_POLL_S = 0.05
_PATIENCE_S = 600.0  # for rank 0 to delete what an older render left


@dataclass(frozen=True)
class Share:
    """Which of the processes that share a film this one is."""

    rank: int = 0
    world: int = 1  # the number of processes
    launch: str = ""  # equal for processes that were started together; of a killed render another


def check(target: Target, *, resume: bool, world: int) -> None:
    """Raise UsageError if a render cannot be resumed or shared, before any work is done."""
    if (resume or world > 1) and not target.kind.audio_encoder:
        asked = "--resume" if resume else f"a render by {world} processes"
        films = f"films that can be joined: {', '.join(codecs.FILM_SUFFIXES)}"
        raise UsageError(f"{target.path}: {asked} works only for {films}.")


def folder_of(path: Path) -> Path:
    """The folder of the segments of a film while it is not finished."""
    return path.absolute().with_name(f".{path.name}.segments")


class Film:
    """The pieces of a film that this process has to write, and the joined film at the end.

    writer   has the target and its settings; each piece gets a copy of it
    key      all else that the frames depend on, as JSON; compared before segments are reused
    resume   reuse the segments that a render with the same settings left
    share    with several processes, rank 0 makes the folder, waits for all others and joins

    Segments stay on disk if the process is killed, or interrupted with `resume`. Several processes
    always reuse segments, because each must see those of the others. A film of a container that
    cannot be joined is one piece.
    """

    def __init__(
        self,
        writer: VideoWriter,
        *,
        frames: int,
        key: Mapping[str, object],
        resume: bool = False,
        share: Share = Share(),
        segment_frames: int = SEGMENT_FRAMES,
    ) -> None:
        check(writer.target, resume=resume, world=share.world)
        self._writer, self._frames, self._share = writer, frames, share
        self._resume, self._reuse = resume, resume or share.world > 1
        self._path, self._folder = writer.target.path, folder_of(writer.target.path)
        self._joinable = writer.target.kind.audio_encoder is not None
        length = segment_frames if self._joinable else frames
        self._pieces = [range(i, min(i + length, frames)) for i in range(0, frames, length)]
        facts = {"format": "vidgan-segments-1", "frames": frames, "segment": length}
        # To JSON and back, so that it equals what is read from a file.
        self._manifest = json.loads(json.dumps(facts | writer.settings | dict(key), default=str))

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """Write the pieces within this block. At its end the target is there."""
        found = self._found()
        if self._resume and found and found != self._manifest:
            raise UsageError(
                f"--resume: {self._path} was begun with another {self._differing(found)}. Repeat "
                "that command, or leave out --resume to start again."
            )
        if not self._joinable:
            yield
        elif self._share.rank:
            self._wait_for_rank_0()
            self._arrival(self._share.rank).touch()
            yield
        else:
            with self._locked_folder():
                self._prepare()
                yield
                self._finish()

    def missing(self) -> Iterator[range]:
        """The frames of each piece that this process still has to write, in order."""
        for number, piece in enumerate(self._pieces):
            done = self._reuse and self._file(piece).exists()
            if number % self._share.world == self._share.rank and not done:
                yield piece

    def open(self, piece: range) -> VideoWriter:
        """A writer for the frames of one piece. The piece appears when it is complete."""
        if not self._joinable:
            return self._writer
        return self._writer.for_piece(replace(self._writer.target, path=self._file(piece)))

    def _file(self, piece: range) -> Path:
        return self._folder / f"{piece.start:09d}{self._path.suffix.lower()}"

    def _arrival(self, rank: int) -> Path:
        """A file that means: the process has passed all checks, which a finished film fails."""
        launch = hashlib.sha256(self._share.launch.encode()).hexdigest()[:16]
        return self._folder / f"rank{rank}-{launch}"

    def _found(self) -> dict[str, object]:
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self._folder / "manifest.json").read_text())
        return {}

    def _differing(self, found: Mapping[str, object]) -> str:
        wanted = self._manifest
        differ = {key for key in wanted.keys() | found if wanted.get(key) != found.get(key)}
        # A comment repeats what the others say: it counts where nothing else differs.
        differ = differ - {"comment"} or differ
        return ", ".join(sorted({_NAMES.get(key, key) for key in differ}))

    def _wait_for_rank_0(self) -> None:
        since = time.monotonic()
        while (found := self._found()) != self._manifest:  # rank 0 is still preparing
            if time.monotonic() - since > _PATIENCE_S:
                reason = f"has another {self._differing(found)} than" if found else "saw nothing of"
                raise UsageError(
                    f"{self._path}: rank {self._share.rank} {reason} rank 0. Start all processes "
                    "together, with the same command, model and versions."
                )
            time.sleep(_POLL_S)

    @contextlib.contextmanager
    def _locked_folder(self) -> Iterator[None]:
        """Lock the folder, and delete it at the end unless an interrupted render may resume."""
        keep, busy = False, f"{self._path}: another process is rendering it; stop that one first."
        at_once = contextlib.nullcontext() if self._resume else signals.undone(self._delete)
        with locks.locked(self._folder / "lock", busy=busy), at_once:
            try:
                yield
            except KeyboardInterrupt:
                if keep := self._resume:
                    logger.info(f"{self._path}: stopped. The same command continues from here.")
                raise
            finally:
                with contextlib.suppress(OSError):
                    if not keep:
                        self._delete()

    def _delete(self) -> None:
        self._empty()
        remove(self._folder)  # with the lock; whoever finds none makes one

    def _empty(self) -> None:
        for old in self._folder.iterdir():
            if old.name != "lock":
                remove(old)

    def _prepare(self) -> None:
        """Reuse the segments in the folder if that is wanted and possible, or else delete them."""
        if self._reuse and self._found() == self._manifest:
            frames = sum(len(piece) for piece in self._pieces if self._file(piece).exists())
            logger.info(f"{self._path}: {frames} of {self._frames} frames are there already.")
            return
        if self._resume:
            logger.info(f"{self._path}: nothing to resume, starting with frame 0.")
        with disk_faults(self._folder):
            self._empty()
        write_bytes(self._folder / "manifest.json", json.dumps(self._manifest, indent=1).encode())

    def _finish(self) -> None:
        counts = {self._file(piece): len(piece) for piece in self._pieces}
        if self._share.world > 1:
            for file in [*counts, *map(self._arrival, range(1, self._share.world))]:
                while not file.exists():
                    time.sleep(_POLL_S)
        film = next(iter(counts))  # a single piece is the film
        try:
            if len(counts) > 1:
                film = self._folder / f"joined{self._path.suffix.lower()}"
                join(counts, film, self._writer.target)
            self._writer.complete(film)
            publish(film, self._path, force=self._writer.force)
        except (OSError, av.FFmpegError) as error:
            raise SystemFault(f"{self._path}: cannot be written ({error.strerror}).") from error


def join(counts: Mapping[Path, int], film: Path, target: Target) -> None:
    """Copy segments, each with its number of frames, into one film with the same mark.

    Times are computed from the number of the frame in the film, so that rounding errors do not add
    up. Raises SystemFault if a segment has another number of frames.
    """
    kind, fps, stream, first = target.kind, target.fps, None, 0
    with av.open(str(film), "w", format=kind.muxer, container_options=kind.options(fps)) as joined:
        for file, count in counts.items():
            with av.open(str(file)) as segment:
                template, seen = segment.streams.video[0], 0
                time_base = Fraction(template.time_base.numerator, template.time_base.denominator)
                ticks = 1 / (time_base * fps)  # per frame
                if stream is None:
                    joined.metadata.update(segment.metadata)
                    stream = codecs.add_copied_stream(joined, template)
                    stream.time_base = time_base
                    reordered = codecs.REORDER_FRAMES * bool(template.codec_context.has_b_frames)
                for packet in segment.demux(template):
                    if not packet.size:  # the last packet is empty and only ends the stream
                        break
                    at, dts = first + round(packet.pts / ticks), first + seen - reordered
                    packet.pts, packet.dts, end = (round(i * ticks) for i in (at, dts, at + 1))
                    packet.duration, packet.stream = end - packet.pts, stream
                    joined.mux(packet)
                    seen += 1
            if seen != count:
                raise SystemFault(f"{file}: damaged, {seen} of {count} frames; render again.")
            first += count
    xmp.append_mark(film, (xmp.find_mark(file) or {}).get("comment"))
