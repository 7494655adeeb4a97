"""How fast the lab learns digits in headless Chromium, and when its pictures stop being noise.

    python tests/benchmarks/lab.py                 # 6,000 images in WebAssembly: a minute or two
    python tests/benchmarks/lab.py --out folder    # keeps a screenshot, shapes.png and strokes.png

For each of the page's samples it prints how far they are from 100 real digits, by the distance of
patches, layout and shades of vidgan/quality/patches.py, which has no weights. The first samples are
noise. Once the distance stays below a third of theirs, there are shapes on a dark ground, unlike
each other; below a quarter, most are strokes. Look at the two pictures. It needs Linux, Node,
Debian's chromium and `make export/web/node_modules/.package-lock.json`.
"""

import argparse
import base64
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from vidgan.generator import web_page
from vidgan.quality.patches import patch_distances

DRIVE = Path(__file__).parent.parent / "web" / "lab.mjs"
SIDE = 32
SEEN = {"shapes": 1 / 3, "strokes": 1 / 4}  # below that share of the distance of the first samples


def pictures(text: str) -> np.ndarray:
    """uint8 [N, 32, 32, 3] of the page's grey bytes."""
    grey = np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, SIDE, SIDE, 1)
    return grey.repeat(3, axis=3)


def first_below(distances: list[float], share: float) -> int:
    """The number of the first samples that are so near, as are all after them; -1 for none."""
    last = max(n for n, x in enumerate(distances) if x >= share * distances[0])
    return last + 1 if last + 1 < len(distances) else -1


def mosaic(samples: np.ndarray) -> Image.Image:
    rows = samples.reshape(8, 8, SIDE, SIDE, 3).transpose(0, 2, 1, 3, 4).reshape(8 * SIDE, -1, 3)
    return Image.fromarray(rows).resize((16 * SIDE, 16 * SIDE), Image.Resampling.NEAREST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=6_000)
    parser.add_argument("--out", type=Path, help="a folder for lab.png and others")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        page = Path(temporary) / "lab.html"
        web_page.write_lab(page)
        command = ["node", DRIVE, "watched", page.as_uri(), temporary, str(asked.images)]
        seen = json.loads(subprocess.check_output(command, text=True))
        if asked.out:
            asked.out.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(temporary) / "lab.png", asked.out)
    assert not seen["errors"], seen["errors"]
    reals = pictures(seen["reals"])
    all_samples = [pictures(one["pixels"]) for one in seen["samples"]]
    distances = [patch_distances(reals, samples).mean for samples in all_samples]
    print("images  seconds  CPU s  distance")
    for one, distance in zip(seen["samples"], distances, strict=True):
        print(f"{one['images']:6}{one['seconds']:9.1f}{one['cpu_s']:7.1f}{distance:10.0f}")
    print(f"{seen['images_per_s']:.0f} images/s ({seen['device']})")
    for name, share in SEEN.items():
        first = first_below(distances, share)
        if first < 0:
            print(f"no {name} up to {seen['samples'][-1]['images']:,} images")
            continue
        one = seen["samples"][first]
        cost = f"{one['seconds']:.0f} s after Train, {one['cpu_s']:.0f} s of CPU time"
        print(f"{name} at {one['images']:,} images: {cost}")
        if asked.out:
            mosaic(all_samples[first]).save(asked.out / f"{name}.png")


if __name__ == "__main__":
    main()
