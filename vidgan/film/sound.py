"""Sound: how loud it is and where notes begin, for each frame; and sound into a film.

PyAV decodes it as a stream. Memory holds two numbers per 23 ms of sound, never the sound itself.
"""

import heapq
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from vidgan.errors import DataError, SystemFault, UsageError
from vidgan.film import codecs
from vidgan.film.target import Target
from vidgan.marks import xmp

_RATE, _HOP, _WINDOW = 22_050, 512, 1024  # samples, for the analysis only
_DECAY_S = 0.2  # the effect of an onset falls to a third in this time
# Formats that refer to no other file. A playlist would make FFmpeg open others.
_SAFE = {"format_whitelist": "wav,mp3,flac,ogg,aac,aiff,mov,matroska", "protocol_whitelist": "file"}


@dataclass(frozen=True, eq=False)
class Drive:
    """How a sound moves a walk, for each frame, float64 [frames]."""

    speed: np.ndarray  # above 0; rises with onsets and loudness
    gain: np.ndarray  # see `latent.paths.Path`; 0.6 (silence) to 1 (loud)

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


def listen(sound: Path, *, fps: Fraction) -> Drive:
    """Analyse a sound. It has as many frames as it is long at `fps`, rounded. Raises DataError."""
    loudness, onset, samples = [], [], 0
    rest, before = np.zeros(0), None
    taper, decay = np.hanning(_WINDOW) / (_WINDOW / 4), np.exp(-_HOP / _RATE / _DECAY_S)
    for block in _mono(sound):
        samples += len(block)
        rest = np.concatenate([rest, block])
        for start in range(0, len(rest) - _WINDOW + 1, _HOP):
            part = rest[start : start + _WINDOW]
            spectrum = np.log1p(100 * np.abs(np.fft.rfft(part * taper)))
            rise = np.maximum(spectrum - before, 0).mean() if before is not None else 0.0
            before = spectrum
            loudness.append(np.sqrt(np.mean(part**2)))
            onset.append(rise)
        rest = rest[max(0, (len(rest) - _WINDOW) // _HOP + 1) * _HOP :]
    if not samples:
        raise DataError(f"{sound}: not one sample of sound in it; is it damaged?")
    loud, push = _normalized(loudness, 95), _normalized(onset, 99) ** 2
    for i in range(1, len(push)):  # an onset dies away like a struck string
        push[i] = max(push[i], push[i - 1] * decay)
    loud = np.convolve(np.pad(loud, 5, mode="edge"), np.full(11, 1 / 11), mode="valid")
    at_s = (np.arange(max(1, round(Fraction(samples, _RATE) * fps))) + 0.5) / float(fps)
    hop_s = (np.arange(len(loud)) * _HOP + _WINDOW / 2) / _RATE
    loud, push = np.interp(at_s, hop_s, loud), np.interp(at_s, hop_s, push)
    return Drive(speed=0.25 + 0.75 * loud + 2 * push, gain=0.6 + 0.4 * loud)


def add_sound(
    film: Path, sound: Path, target: Target, comment: Mapping[str, object] | None = None
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
                packets = _copied(source, video, copy), _encoded(song, audio, end_s)
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


def _mono(sound: Path) -> Iterator[np.ndarray]:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=_RATE)
    with _opened(sound) as song:
        for frame in itertools.chain(_decoded(song), [None]):
            try:
                blocks = resampler.resample(frame)
            except av.FFmpegError as error:  # of a rate or a layout that no sound has
                raise DataError(f"{sound}: cannot be used as sound ({error.strerror}).") from error
            for block in blocks:
                yield block.to_ndarray()[0].astype(np.float64)


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


def _encoded(song: InputContainer, audio: av.AudioStream, end_s: Fraction) -> Iterator[av.Packet]:
    """The sound in packets. The last packet ends where the film ends."""
    resampler = av.AudioResampler(format=audio.format, layout=audio.layout, rate=audio.rate)
    end, samples = round(end_s * audio.rate), 0
    for frame in itertools.chain(_decoded(song), [None]):
        parts = resampler.resample(frame)
        for part in parts if frame else [*parts, None]:
            if part:
                part.pts, samples = samples, samples + part.samples
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


def _normalized(values: list[float], percentile: float) -> np.ndarray:
    """From 0 (silence) to 1 (this percentile, and what is above it)."""
    array = np.array(values or [0.0])  # a sound shorter than one window
    return np.clip(array / max(np.percentile(array, percentile), 1e-4), 0, 1)
