"""Sounds made for tests: a quiet tone with one loud stroke in the middle."""

from pathlib import Path

import av
import numpy as np

_CODECS = {".wav": "pcm_s16le", ".mp3": "libmp3lame", ".flac": "flac", ".mp4": "aac"}


def write_sound(path: Path, *, duration_s: float = 2.0, rate: int = 44_100, level: float = 1.0):
    t = np.arange(round(duration_s * rate)) / rate
    after = np.maximum(t - duration_s / 2, 0)
    stroke = 0.6 * (after > 0) * np.exp(-after / 0.3) * np.sin(2 * np.pi * 880 * t)
    tone = 0.02 * np.sin(2 * np.pi * 220 * t)
    samples = (level * (tone + stroke) * 32767).astype(np.int16)[None]
    with av.open(str(path), "w") as file:
        stream = file.add_stream(_CODECS[path.suffix], rate=rate)
        stream.layout = "mono"
        for start in range(0, samples.shape[1], 4096):
            part = np.ascontiguousarray(samples[:, start : start + 4096])
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path
