"""What a quality means for every codec: PSNR and size at five qualities, and speed.

    python -m tests.benchmarks.codecs [--codecs h264 vp9]

64 frames of the shipped generator, enlarged to 512 pixels, decoded as the tests decode. Each cell
is PSNR in dB and kB per frame; frames/s are per second of CPU at quality 80. It made the table in
`vidgan/film/codecs.py`.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.films import decoded, write
from vidgan import Walk, frames, open_generator
from vidgan.disk.places import bundled

KINDS = {"h264": ".mp4", "h265": ".mp4", "av1": ".mp4", "vp9": ".webm", "prores": ".mov"}
KINDS |= {"webp": ".webp"}
QUALITIES = (20, 40, 60, 80, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codecs", nargs="+", default=KINDS, choices=KINDS)
    given = parser.parse_args()
    generator = open_generator(bundled("assets/generator.safetensors"))
    (path,) = Walk(z_dim=generator.z_dim, seed=0, frames=64).paths()
    small = list(frames(generator, path))
    scale = 512 // generator.height
    large = np.stack(small).repeat(scale, 1).repeat(scale, 2).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        for name in given.codecs:
            cells, cpu_s = [], 0.0
            for quality in QUALITIES:
                film, begun_s = Path(folder, f"film{KINDS[name]}"), time.process_time()
                write(film, small, codec=name, quality=quality, scale=scale, force=True)
                cpu_s = time.process_time() - begun_s if quality == 80 else cpu_s
                error = np.mean((decoded(film) - large) ** 2)
                psnr_db = 10 * np.log10(255**2 / error) if error else np.inf
                cells.append(f"{psnr_db:5.1f} {film.stat().st_size / 64_000:5.2f}")
            print(f"{name:7} {'  '.join(cells)}  {64 / cpu_s:.0f}", flush=True)


if __name__ == "__main__":
    main()
