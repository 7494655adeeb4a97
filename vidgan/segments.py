"""A film in segments: closed pieces in a hidden folder beside the target, joined by stream copy.

Each segment is a whole small film of its own, so it may be made by any process at any time: a
killed render goes on where it stopped, and several processes share one film. What the frames depend
on stands in a manifest; other segments are never joined. Knows nothing of models and paths.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from vidgan import provenance
from vidgan.errors import SystemFault, UsageError
from vidgan.video import VideoWriter

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
SEGMENT_FRAMES = 240  # below x264's own limit of 250, so that a segment costs no further key frame
_POLL_S = 0.05

OpenWriter = Callable[[Path], VideoWriter]  # with the settings of this film, whatever the name


def folder_of(target: Path) -> Path:
    """Where the segments of a target stand while it is not finished."""
    return target.absolute().with_name(f".{target.name}.segments")


def interrupted(target: Path) -> bool:
    """Whether a render of this target was killed and left segments."""
    return (folder_of(target) / "manifest.json").is_file()


class Film:
    """The pieces of one target that this process has to write, and the target at the end.

    key           all that the frames depend on, as JSON: a resumed render must agree with it
    rank, world   this process and how many share the film through the file system

    Leaving the with-block joins the segments onto the target, or after an exception removes them;
    only a process that was killed leaves any. With more than one process, rank 0 prepares, waits
    for all and joins; segments with an equal manifest are then taken over as with `resume`.
    Raises UsageError where segments were asked for but cannot be joined or belong to another film.
    """

    def __init__(
        self,
        target: Path,
        open_writer: OpenWriter,
        *,
        frames: int,
        fps: Fraction,
        key: Mapping[str, object],
        comment: Mapping[str, object] | None = None,
        resume: bool = False,
        rank: int = 0,
        world: int = 1,
        segment_frames: int = SEGMENT_FRAMES,
        notice: Callable[[str], None] = lambda line: None,
    ) -> None:
        check(target, resume=resume, world=world)
        self.target, self.folder, self.frames = target, folder_of(target), frames
        self._fps, self._open_writer, self._comment, self._notice = (
            fps,
            open_writer,
            comment,
            notice,
        )
        self._rank, self._world, self._resume = rank, world, resume
        self._in_segments = target.suffix.lower() in FORMATS
        self._keep = self._in_segments and (resume or world > 1)
        self._length = segment_frames if self._in_segments else frames
        facts = {"format": "vidgan-segments-1", "frames": frames, "segment": segment_frames}
        facts |= {"fps": fps}
        # As JSON gives it back, so that it can be compared with what a file holds.
        self._manifest = json.loads(json.dumps(facts | dict(key), default=str))

    def __enter__(self) -> Self:
        if not self._in_segments:
            return self
        if self._rank > 0:
            while self._found() != self._manifest:  # until rank 0 has prepared the folder
                time.sleep(_POLL_S)
            return self
        try:
            self._prepare()
        except KeyboardInterrupt:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def missing(self) -> Iterator[range]:
        """The frames of each piece that this process has yet to write, in order."""
        step = self._length * self._world
        for start in range(self._length * self._rank, self.frames, step):
            piece = range(start, min(start + self._length, self.frames))
            if not (self._keep and self._file(piece).exists()):
                yield piece

    def frames_here(self) -> int:
        """How many frames this process has yet to write."""
        return sum(len(piece) for piece in self.missing())

    def open(self, piece: range) -> VideoWriter:
        """A writer for the frames of one piece; it appears when it is whole."""
        return self._open_writer(self._file(piece) if self._in_segments else self.target)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._in_segments or self._rank > 0:
            return
        try:
            if error is None:
                self._wait_for_others()
                self._join()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, piece: range) -> Path:
        return self.folder / f"{piece.start:09d}{self.target.suffix.lower()}"

    def _pieces(self) -> Iterator[range]:
        for start in range(0, self.frames, self._length):
            yield range(start, min(start + self._length, self.frames))

    def _found(self) -> dict[str, object] | None:
        try:
            return json.loads((self.folder / "manifest.json").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def _prepare(self) -> None:
        found = self._found()
        if found != self._manifest or not self._keep:
            if found and self._resume:
                names = sorted(found.keys() | self._manifest.keys())
                other = [n for n in names if found.get(n) != self._manifest.get(n)]
                raise UsageError(
                    f"--resume: {self.target} was begun with another {', '.join(other)}; repeat "
                    "that command, or leave out --resume to start anew."
                )
            if self._resume:
                self._notice(f"{self.target}: nothing to resume, starting with frame 0.")
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            part = self.folder / "manifest.part"
            part.write_text(json.dumps(self._manifest, indent=1))
            part.replace(self.folder / "manifest.json")
        elif held := sum(len(p) for p in self._pieces() if self._file(p).exists()):
            self._notice(f"{self.target}: {held} of {self.frames} frames are there already.")

    def _wait_for_others(self) -> None:
        for piece in self._pieces() if self._world > 1 else ():
            while not self._file(piece).exists():
                if not self.folder.exists():
                    raise SystemFault(f"{self.folder}: removed while it was in use; render again.")
                time.sleep(_POLL_S)

    def _join(self) -> None:
        files = [self._file(piece) for piece in self._pieces()]
        whole = files[0]  # already what the target shall be, if it is the only one
        try:
            if len(files) > 1:
                whole = self.folder / f"joined{self.target.suffix.lower()}"
                counts = [len(piece) for piece in self._pieces()]
                join(files, whole, fps=self._fps, counts=counts, comment=self._comment)
            whole.replace(self.target)
        except (OSError, av.FFmpegError) as error:
            raise SystemFault(f"{self.target}: cannot be written ({error.strerror}).") from error


def check(target: Path, *, resume: bool, world: int) -> None:
    """Refuse to resume or share what cannot be joined, while nothing is lost yet."""
    asked = "--resume" if resume else f"{world} processes" if world > 1 else ""
    if asked and target.suffix.lower() not in FORMATS:
        raise UsageError(
            f"{target}: {asked} needs a file whose parts can be joined without encoding again: "
            f"{', '.join(FORMATS)}."
        )


def join(
    files: list[Path],
    target: Path,
    *,
    fps: Fraction,
    counts: list[int],
    comment: Mapping[str, object] | None = None,
) -> None:
    """Copy the streams of films of equal settings into one, marked; counts[i] frames from files[i].

    Times come from the running number of the frame, so that rounding never adds up.
    Raises SystemFault where a film holds another number of frames.
    """
    with av.open(str(files[0])) as source:
        tick = source.streams.video[0].time_base
        clock = Fraction(tick.numerator, tick.denominator)
    options = {"fflags": "+bitexact"}
    if target.suffix in (".mp4", ".mov"):
        options |= {"movflags": "+faststart", "movie_timescale": str(clock.denominator)}
    form = FORMATS[target.suffix]
    with av.open(str(target), "w", format=form, container_options=options) as film:
        if comment:
            film.metadata["comment"] = provenance.comment_json(comment)
        stream, first = None, 0
        for file, count in zip(files, counts, strict=True):
            with av.open(str(file)) as source:
                template, seen = source.streams.video[0], 0
                if stream is None:
                    stream = film.add_stream_from_template(template)
                    stream.time_base = clock
                for packet in source.demux(template):
                    if packet.dts is None:  # the last one is empty and only ends the stream
                        break
                    pts, dts = (first + round(t * clock * fps) for t in (packet.pts, packet.dts))
                    packet.duration = round((pts + 1) / fps / clock) - round(pts / fps / clock)
                    packet.pts, packet.dts = (round(t / fps / clock) for t in (pts, dts))
                    packet.time_base, packet.stream = clock, stream
                    film.mux(packet)
                    seen += 1
            if seen != count:
                raise SystemFault(
                    f"{file}: damaged, {seen} of {count} frames; render without --resume."
                )
            first += count
    provenance.append_mark(target, comment)
    with target.open("r+b") as written:
        os.fsync(written.fileno())
