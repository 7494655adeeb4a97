"""How fast the lab learns in headless Chromium, and how near its pictures are to real ones.

    python tests/benchmarks/lab.py                     # 6,000 digits in WebAssembly: some minutes
    python tests/benchmarks/lab.py --out folder        # keeps samples after 10, 30, 60 and 120 s
    python tests/benchmarks/lab.py --pictures emoji/   # learns a folder of pictures

For each of the page's samples it prints how far they are from 100 reals, by the distance of
patches, layout and shades of vidgan/quality/patches.py, which has no weights; and first, how far
noise is, and how far 64 other reals are. Look at the samples. It needs Linux, Node, Debian's
chromium and `make export/web/node_modules/.package-lock.json`.
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
KEPT_AFTER = (10, 30, 60, 120)  # seconds of CPU time


def pictures(text: str, side: int, colours: int) -> np.ndarray:
    """uint8 [N, H, W, 3] of the page's bytes."""
    content = np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, side, side, colours)
    return content.repeat(3 // colours, axis=3)


def mosaic(samples: np.ndarray) -> Image.Image:
    side = samples.shape[1]
    rows = samples.reshape(8, 8, side, side, 3).transpose(0, 2, 1, 3, 4).reshape(8 * side, -1, 3)
    return Image.fromarray(rows).resize((512, 512), Image.Resampling.NEAREST)


def watched(asked: argparse.Namespace) -> dict:
    """What lab.mjs saw, as JSON."""
    with tempfile.TemporaryDirectory() as temporary:
        page = Path(temporary) / "lab.html"
        web_page.write_lab(page)
        command = ["node", DRIVE, "watched", page.as_uri(), temporary]
        command += [str(asked.images), str(asked.side), *([asked.pictures] * bool(asked.pictures))]
        seen = json.loads(subprocess.check_output(command, text=True))
        if asked.out:
            asked.out.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(temporary) / "lab.png", asked.out)
    assert not seen["errors"], seen["errors"]
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=6_000)
    parser.add_argument("--pictures", type=Path, help="a folder; without it, digits")
    parser.add_argument("--side", type=int, choices=(32, 64), default=32)
    parser.add_argument("--out", type=Path, help="a folder for lab.png and samples")
    asked = parser.parse_args()
    seen = watched(asked)
    known = pictures(seen["reals"], asked.side, seen["colours"])
    reals, others = known[:100], known[100:164]
    noise = np.random.default_rng(0).integers(0, 256, others.shape, np.uint8)
    for name, some in (("noise", noise), ("other reals", others)):
        print(f"{name}: {patch_distances(reals, some).mean:.0f}")
    print("images  seconds  CPU s  distance")
    kept = list(KEPT_AFTER)
    for one in seen["samples"]:
        samples = pictures(one["pixels"], asked.side, seen["colours"])
        figures = f"{one['images']:6}{one['seconds']:9.1f}{one['cpu_s']:7.1f}"
        print(f"{figures}{patch_distances(reals, samples).mean:10.0f}")
        if kept and one["cpu_s"] >= kept[0]:
            if asked.out:
                mosaic(samples).save(asked.out / f"{kept[0]}s.png")
            kept.pop(0)
    print(f"{seen['images_per_s']:.0f} images/s ({seen['device']})")


if __name__ == "__main__":
    main()
