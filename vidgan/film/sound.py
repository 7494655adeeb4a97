"""Sound in: how loud it is and where notes begin, frame by frame; and the sound put into a film.

Decoded by PyAV as a stream: memory holds one number or two per 23 ms of sound, never the sound.
Knows no path and no model.
"""

import heapq
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vidgan.errors import DataError, SystemFault, UsageError
from vidgan.film import codecs
from vidgan.marks import xmp

_RATE, _HOP, _WINDOW = 22_050, 512, 1024  # samples; of the analysis only
_DECAY_S = 0.2  # in which the push of an onset falls to a third
# Only what a file can hold by itself: a playlist would make FFmpeg open other files.
_SAFE = {"format_whitelist": "wav,mp3,flac,ogg,aac,aiff,mov,matroska", "protocol_whitelist": "file"}


@dataclass(frozen=True, eq=False)
class Drive:
    """What a sound does to a path, per frame, float64 [frames]."""

    speed: np.ndarray  # above 0; onsets and loudness push
    gain: np.ndarray  # of the truncation, 0.6 (silence) to 1 (loud)

    def timing(self, steps: int) -> np.ndarray:
        """Positions [steps + 1] rising from 0 to 1 at this speed."""
        way = np.concatenate([[0], np.cumsum(self.speed[:steps])])
        return way / max(way[-1], 1e-12)


def check(sound: Path, target: Path) -> None:
    """Refuse a sound that cannot be read, or a kind of film that holds none."""
    if not codecs.kind_of(target).voice:
        raise UsageError(f"{target}: holds no sound; with --audio: {', '.join(codecs.FILMS)}.")
    with _opened(sound):
        pass


def listen(sound: Path, *, fps: Fraction) -> Drive:
    """Analyse a sound; the number of frames is its length at `fps`, rounded. Raises DataError."""
    loudness, onset, samples = [], [], 0
    rest, before = np.zeros(0), None
    taper, fall = np.hanning(_WINDOW) / (_WINDOW / 4), np.exp(-_HOP / _RATE / _DECAY_S)
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
    loud, push = _scaled(loudness, 95), _scaled(onset, 99) ** 2
    for i in range(1, len(push)):  # struck, then dying away
        push[i] = max(push[i], push[i - 1] * fall)
    loud = np.convolve(np.pad(loud, 5, mode="edge"), np.full(11, 1 / 11), mode="valid")
    at_s = (np.arange(max(1, round(Fraction(samples, _RATE) * fps))) + 0.5) / float(fps)
    hop_s = (np.arange(len(loud)) * _HOP + _WINDOW / 2) / _RATE
    loud, push = np.interp(at_s, hop_s, loud), np.interp(at_s, hop_s, push)
    return Drive(speed=0.25 + 0.75 * loud + 2 * push, gain=0.6 + 0.4 * loud)


def add_sound(
    film: Path, sound: Path, kind: codecs.Kind, comment: Mapping[str, object] | None = None
) -> None:
    """Put a sound into a finished film, which is copied, and mark it again. Raises SystemFault."""
    part = film.with_name(f"{film.name}.sound")
    try:
        with av.open(str(film)) as source, _opened(sound) as song:
            picture = source.streams.video[0]
            options = codecs.muxer_options(kind, 1 / picture.time_base)
            with av.open(str(part), "w", format=kind.container, container_options=options) as out:
                out.metadata.update(source.metadata)
                copy = codecs.add_copied(out, picture)
                voice = out.add_stream(kind.voice, rate=48_000)
                voice.codec_context.options = {"flags": "+bitexact"}
                # Matroska gives the length of the whole file alone.
                end_s = (picture.duration or 0) * picture.time_base or source.duration / 10**6
                packets = _copied(source, picture, copy), _encoded(song, voice, end_s)
                # By time, or FFmpeg would keep all of one stream in memory.
                for packet in heapq.merge(*packets, key=_time_s):
                    out.mux(packet)
        xmp.append_mark(part, comment)
        part.replace(film)
    except (av.FFmpegError, OSError) as error:
        raise SystemFault(f"{film}: cannot be written ({error.strerror}).") from error
    finally:
        part.unlink(missing_ok=True)


def _opened(sound: Path) -> av.container.InputContainer:
    try:
        container = av.open(str(sound.resolve()), options=_SAFE)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no name of a file"
        raise DataError(f"{sound}: cannot be read as sound ({reason}).") from error
    if not container.streams.audio:
        container.close()
        raise DataError(f"{sound}: there is no sound in it; --audio takes wav, mp3, flac, ...")
    return container


def _mono(sound: Path) -> Iterator[np.ndarray]:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=_RATE)
    with _opened(sound) as song:
        for frame in itertools.chain(_decoded(song), [None]):
            for block in resampler.resample(frame):
                yield block.to_ndarray()[0].astype(np.float64)


def _decoded(song: av.container.InputContainer) -> Iterator[av.AudioFrame]:
    for packet in song.demux(song.streams.audio[0]):
        try:
            yield from packet.decode()
        except av.FFmpegError:
            continue  # a damaged packet; players go on too


def _encoded(
    song: av.container.InputContainer, voice: av.AudioStream, end_s: Fraction
) -> Iterator[av.Packet]:
    """The sound in packets; the last one is cut where the film ends."""
    resampler = av.AudioResampler(format=voice.format, layout=voice.layout, rate=voice.rate)
    end, samples = round(end_s * voice.rate), 0
    for frame in itertools.chain(_decoded(song), [None]):
        parts = resampler.resample(frame)
        for part in parts if frame else [*parts, None]:
            if part:
                part.pts, samples = samples, samples + part.samples
            for packet in voice.encode(part):
                if packet.pts < end:
                    packet.duration = max(1, min(packet.duration, end - packet.pts))
                    yield packet


def _copied(
    source: av.container.InputContainer, film: av.VideoStream, copy: av.VideoStream
) -> Iterator[av.Packet]:
    for packet in source.demux(film):
        if packet.size:  # the last one is empty and only ends the stream
            packet.stream = copy
            yield packet


def _time_s(packet: av.Packet) -> float:
    at = packet.pts if packet.dts is None else packet.dts  # Matroska has no dts
    return float(at * packet.time_base)


def _scaled(values: list[float], percentile: float) -> np.ndarray:
    """Against the strongest, 0 to 1; silence stays 0."""
    array = np.array(values or [0.0])  # a sound shorter than one window
    return np.clip(array / max(np.percentile(array, percentile), 1e-4), 0, 1)
