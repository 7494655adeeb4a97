"""Sound: how loud it is and where notes begin, for each frame; and sound into a film.

PyAV decodes it as a stream. Memory holds two numbers per 23 ms of sound, never the sound itself.
"""

import heapq
import itertools
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from vidgan.errors import DataError, SystemFault, UsageError
from vidgan.film import codecs
from vidgan.film.encoders import Comment
from vidgan.film.target import Target
from vidgan.marks import xmp

_RATE, _HOP, _WINDOW = 22_050, 512, 1024  # samples, for the analysis only
_DECAY = 0.8  # of the smoothing: in this time the effect of an onset falls to a third
BANDS_HZ = {"bass": (20, 250), "voice": (250, 4000), "treble": (4000, 11_025)}
_DRIVES = ("beat", "loudness")
_PIECE = 240  # samples; a sound in a film begins at the start of such a piece
# Formats that refer to no other file. A playlist would make FFmpeg open others.
_SAFE = {"format_whitelist": "wav,mp3,flac,ogg,aac,aiff,mov,matroska", "protocol_whitelist": "file"}


@dataclass(frozen=True, eq=False)
class Drive:
    """How a sound moves a walk, for each frame, float64 [frames]."""

    speed: np.ndarray  # above 0; rises with onsets and loudness
    gain: np.ndarray  # see `latent.paths.Path`; 0.6 (silence) to 1 (loud)
    loudness: np.ndarray  # 0 to 1
    beat: np.ndarray  # 1 at the strongest onsets, and dying away

    def timing(self, steps: int) -> np.ndarray:
        """Positions [steps + 1] that rise from 0 to 1 at this speed."""
        positions = np.concatenate([[0], np.cumsum(self.speed[:steps])])
        return positions / max(positions[-1], 1e-12)


def check(sound: Path, target: Target) -> None:
    """Raise DataError if the sound cannot be read, UsageError if the target can hold none."""
    if not target.kind.audio_encoder:
        suffixes = ", ".join(codecs.FILM_SUFFIXES)
        raise UsageError(f"{target.path}: holds no sound; --audio goes into {suffixes}.")
    _opened(sound).close()


def listen(
    sound: Path,
    fps: Fraction,
    part: Sequence[float] = (0,),
    follow: Sequence[str] = (),
    strength: float = 1.0,
    smoothing: float = 0.25,
) -> Drive:
    """Analyse a sound. It has as many frames as the part is long at `fps`, rounded.

    part       from where, and to where if not to the end, in seconds
    follow     beat or loudness, by default both; and one of BANDS_HZ, by default all
    strength   0 moves evenly, 1 as usual, 2 twice as much
    smoothing  seconds over which loudness is averaged, and for about which a beat is felt

    Raises DataError, and UsageError for settings that cannot be.
    """
    bands = [BANDS_HZ[word] for word in follow if word in BANDS_HZ]
    if not {*follow} <= {*_DRIVES, *BANDS_HZ} or len(bands) > 1:
        known = ", ".join((*_DRIVES, *BANDS_HZ))
        raise UsageError(f"--audio-follow {','.join(follow)}: of {known}, for example bass,beat.")
    if not (0 <= strength <= 10 and 0 <= smoothing <= 60):
        raise UsageError("--audio-strength is from 0 to 10, --audio-smoothing to 60 seconds.")
    from_s, to_s = (*part, math.inf)[:2]
    if len(part) > 2 or not 0 <= from_s < to_s:
        raise UsageError("--audio-part: from a time to a later one, for example 0:30-1:00.")
    blocks = _mono(sound, from_s, to_s)
    loudness, onset, samples = _heard(blocks, bands[0] if bands else None)
    if not samples:
        raise DataError(f"{sound}: not one sample of sound in it; is it damaged?")
    loud, beat = _normalized(loudness, 95), _normalized(onset, 99) ** 2
    decay = np.exp(-_HOP / _RATE / max(_DECAY * smoothing, 1e-6))
    for i in range(1, len(beat)):  # an onset dies away like a struck string
        beat[i] = max(beat[i], beat[i - 1] * decay)
    reach = round((smoothing * _RATE / _HOP - 1) / 2)
    window, near = np.ones(2 * reach + 1), slice(reach, reach + len(loud))
    loud = np.convolve(loud, window)[near] / np.convolve(np.ones(len(loud)), window)[near]
    at_s = (np.arange(max(1, round(Fraction(samples, _RATE) * fps))) + 0.5) / float(fps)
    hop_s = (np.arange(len(loud)) * _HOP + _WINDOW / 2) / _RATE
    loud, beat = np.interp(at_s, hop_s, loud), np.interp(at_s, hop_s, beat)
    only = [drive for drive in _DRIVES if drive in follow]
    by_loud, by_beat = (float(only != [other]) for other in _DRIVES)
    speed = 0.25 + strength * (0.75 * by_loud * loud + 2 * by_beat * beat)
    return Drive(speed, np.clip(1 - 0.4 * by_loud * strength * (1 - loud), 0, 1), loud, beat)


def _heard(blocks: Iterator[np.ndarray], band: tuple | None) -> tuple[array, array, int]:
    """How loud it is and how much begins at each hop, both also of one band; and all samples."""
    loudness, onset, samples = array("d"), array("d"), 0
    rest, before = np.zeros(0), None
    taper = np.hanning(_WINDOW) / (_WINDOW / 4)
    heard = slice(*(round(hz * _WINDOW / _RATE) for hz in band)) if band else slice(None)
    for block in blocks:
        samples += len(block)
        rest = np.concatenate([rest, block])
        for start in range(0, len(rest) - _WINDOW + 1, _HOP):
            window = rest[start : start + _WINDOW]
            level = np.abs(np.fft.rfft(window * taper))[heard]
            now = np.log1p(100 * level)
            onset.append(0.0 if before is None else np.maximum(now - before, 0).mean())
            loudness.append(np.sqrt(np.sum(level**2) / 3 if band else np.mean(window**2)))
            before = now
        rest = rest[max(0, (len(rest) - _WINDOW) // _HOP + 1) * _HOP :]
    return loudness, onset, samples


def add_sound(
    film: Path, sound: Path, target: Target, comment: Comment = None, from_s: float = 0.0
) -> None:
    """Put a sound into a finished film like the target, and mark it again. Raises SystemFault."""
    part, kind = film.with_name(f"{film.name}.sound"), target.kind
    try:
        with av.open(str(film)) as source, _opened(sound) as song:
            video = source.streams.video[0]
            options = kind.options(1 / video.time_base)
            with av.open(str(part), "w", format=kind.muxer, container_options=options) as out:
                out.metadata.update(source.metadata)
                copy = codecs.add_copied_stream(out, video)
                audio = out.add_stream(kind.audio_encoder, rate=48_000)
                audio.codec_context.options = {"flags": "+bitexact"}
                # Matroska gives no duration of a stream, only that of the file.
                end_s = (video.duration or 0) * video.time_base or source.duration / 10**6
                packets = _copied(source, video, copy), _encoded(song, audio, from_s, end_s)
                # In order of time, or FFmpeg would keep all of one stream in memory.
                for packet in heapq.merge(*packets, key=_time_s):
                    out.mux(packet)
        xmp.append_mark(part, comment)
        part.replace(film)
    except (av.FFmpegError, OSError) as error:
        raise SystemFault(f"{film}: cannot be written ({error.strerror}).") from error
    finally:
        part.unlink(missing_ok=True)


def _opened(sound: Path) -> InputContainer:
    try:
        container = av.open(str(sound.resolve()), options=_SAFE)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        raise DataError(f"{sound}: cannot be read as sound ({reason}).") from error
    if not container.streams.audio:
        container.close()
        raise DataError(f"{sound}: there is no sound in it; --audio takes wav, mp3, flac, ...")
    return container


def _mono(sound: Path, from_s: float, to_s: float) -> Iterator[np.ndarray]:
    """A part of the sound at _RATE. Raises UsageError if it ends before that part."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=_RATE)
    first, end = from_s * _RATE, to_s * _RATE
    at = 0
    with _opened(sound) as song:
        for frame in itertools.chain(_decoded(song), [None]):
            try:
                blocks = resampler.resample(frame)
            except av.FFmpegError as error:  # of a rate or a layout that no sound has
                raise DataError(f"{sound}: cannot be used as sound ({error.strerror}).") from error
            for block in blocks:
                samples = block.to_ndarray()[0]
                low, high = np.clip([first - at, end - at], 0, len(samples)).round().astype(int)
                at += len(samples)
                if low < high:
                    yield samples[low:high].astype(np.float64)
            if at >= end:
                return
    if at and (first >= at or math.inf > end > at + _RATE / 10):
        long = f"is only {at / _RATE:.1f} seconds long"
        raise UsageError(f"{sound}: {long}, which --audio-part, or the film, goes beyond.")


def _decoded(song: InputContainer) -> Iterator[av.AudioFrame]:
    """Its frames, without damaged ones and those in another form than the first."""
    form, packets = None, song.demux(song.streams.audio[0])
    while True:
        try:
            frames = next(packets).decode()
        except StopIteration:
            return
        except av.FFmpegError:  # a damaged packet is skipped, as players do; behind a damaged
            continue  # place in the container there is none
        for frame in frames:
            own = frame.format.name, frame.layout.name, frame.sample_rate
            form = form or own
            if own == form:
                yield frame


def _encoded(
    song: InputContainer, audio: av.AudioStream, from_s: float, end_s: Fraction
) -> Iterator[av.Packet]:
    """The sound in packets, from a time in it on. The last packet ends where the film ends."""
    resampler = av.AudioResampler(audio.format, audio.layout, audio.rate, frame_size=_PIECE)
    end, samples = round(end_s * audio.rate), -round(from_s * audio.rate)
    for frame in itertools.chain(_decoded(song), [None]):
        parts = resampler.resample(frame)
        for part in parts if frame else [*parts, None]:
            if part:
                part.pts, samples = samples, samples + part.samples
                if part.pts < 0:
                    continue
            for packet in audio.encode(part):
                if packet.pts < end:
                    packet.duration = max(1, min(packet.duration, end - packet.pts))
                    yield packet


def _copied(
    source: InputContainer, video: av.VideoStream, copy: av.VideoStream
) -> Iterator[av.Packet]:
    for packet in source.demux(video):
        if packet.size:  # the last packet is empty and only ends the stream
            packet.stream = copy
            yield packet


def _time_s(packet: av.Packet) -> float:
    ticks = packet.pts if packet.dts is None else packet.dts  # Matroska has no dts
    return float(ticks * packet.time_base)


def _normalized(values: array, percentile: float) -> np.ndarray:
    """From 0 (silence) to 1 (this percentile, and what is above it)."""
    all_of_it = np.array(values or [0.0])  # a sound shorter than one window
    return np.clip(all_of_it / max(np.percentile(all_of_it, percentile), 1e-4), 0, 1)
