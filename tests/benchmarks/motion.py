"""Learned motion, against worlds whose motion is known, and against today's paths.

    python tests/benchmarks/motion.py worlds/           # writes films, trains on each, measures
    python tests/benchmarks/motion.py worlds/ --only discs,earth
    python tests/benchmarks/motion.py other/ --train "--motion --for 12k"    # of vidgan train

Films that are there are not made again, nor runs trained again. For each world it plays ten films
of the learned motion, and of the paths loop, walk and noise, each at the speed at which the mean
change of a frame is that of the film. `linear` is another model, which the library does not have.
`inverted` are the film's own latents, which bound what a motion can show. It prints, for each:

    distance   Frechet distance of histograms of velocity and acceleration (by block matching, in
               clips of 16 frames) from the film's, less the floor: that of two halves of the film
    seen       the same, but a block has moved only if it matches by a grey level better for it: the
               faint flicker of a ground, which no eye sees, is no motion
    flow       length of the mean velocity (pixels in two frames); that of the film is `film`
    spectrum   mean difference of the log spectra of the changes of frames
    still, jump   shares of frames that change less than a fifth of the film's median, more than 3x
    speed      of the discs and digits: error of the median speed of the centroid over 60 frames
    whole      share of frames in which the object is as large as in the film, within a third
    turns      of the discs and digits: how often they turn round, by how often they do in the film
    edge       share of these turns that are where the film has them, at an edge, within 3 pixels
    replay     mean distance of clips to the nearest clip of the film, by that between different
               clips of the film; a replay has 0
    elsewhere  the same, by the distance of the film's own clips to the nearest of its other half; a
               film that repeats itself exactly has none
    drift      FD-Lite0-320 of frames 2,900 to 3,000 from 100 of the film, by that of the first 100;
               of three seeds the mean, and the least and the most (needs the extra [metrics])

The sets have 32x32 pixels, for generators of the recipe `tiny`; the earth is the shipped
generator's. Pictures of slices through time, slices.png, come beside. Not part of the tests.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from vidgan.disk.places import bundled
from vidgan.edit import learn_motion
from vidgan.edit.invert import Inverter
from vidgan.film import reader
from vidgan.film.target import Target
from vidgan.film.writer import VideoWriter
from vidgan.generator import synthesis
from vidgan.generator.synthesis import Synthesize
from vidgan.latent import paths
from vidgan.latent.motion import Motion, Played
from vidgan.quality.distances import frechet
from vidgan.quality.features import Lite0

SIDE, FRAMES, FPS = 32, 1800, 30
BASELINES = ("loop", "walk", "noise")
SPEED = {"discs": 0.9, "digits": 0.6}  # pixels per frame


def bounced(frames: int, radius: float, speed: float, seed: int) -> np.ndarray:
    """The centre [F, 2] of something that flies straight, and is reflected by the edges."""
    angle = np.random.default_rng(seed).uniform(0.3, 1.2)
    way = speed * np.array([np.cos(angle), np.sin(angle)])
    room = SIDE - 1 - 2 * radius
    at = (way * np.arange(frames)[:, None] + room * 0.3) % (2 * room)
    return radius + np.where(at > room, 2 * room - at, at)


def discs() -> np.ndarray:
    """One disc on a dark ground."""
    y, x = np.mgrid[:SIDE, :SIDE]
    centre = bounced(FRAMES, 5, SPEED["discs"], 0)
    away = np.hypot(x - centre[:, 0, None, None], y - centre[:, 1, None, None])
    inside = np.clip(5 - away, 0, 1)[..., None]
    return (20 + inside * (np.array([240, 190, 60]) - 20)).astype(np.uint8)


def sphere() -> np.ndarray:
    """A ball with smooth spots, which turns about its axis once in 90 frames."""
    y, x = (np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2) / (SIDE * 0.45)
    inside = x**2 + y**2 < 1
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(12, 3)) * 2.5
    phase, colour = rng.uniform(0, 6, 12), rng.normal(size=(12, 3))
    frames = []
    for turn in np.arange(FRAMES) * (2 * np.pi / 90):
        at = np.stack([x * np.cos(turn) + z * np.sin(turn), y, z * np.cos(turn) - x * np.sin(turn)])
        spots = np.tensordot(
            np.cos(np.tensordot(waves, at, 1) + phase[:, None, None]), colour, (0, 0)
        )
        shade = np.clip(128 + 32 * spots, 0, 255) * (0.3 + 0.7 * z)[..., None]
        frames.append(np.where(inside[..., None], shade, 16))
    return np.stack(frames).astype(np.uint8)


def digits() -> np.ndarray:
    """A three that flies as the disc does."""
    centre = bounced(FRAMES, 7, SPEED["digits"], 1)
    y, x = np.mgrid[:SIDE, :SIDE]
    frames = []
    for cx, cy in centre:
        u, v = x - cx, y - cy
        arcs = [
            np.abs(np.hypot(u, v - at) - 3) + 9 * ((u < -1) & (np.abs(v) < 4)) for at in (-3, 3)
        ]
        ink = np.clip(2 - np.minimum(*arcs), 0, 1)
        frames.append(np.repeat((20 + 215 * ink)[..., None], 3, -1))
    return np.stack(frames).astype(np.uint8)


WORLDS: dict[str, Callable[[], np.ndarray]] = {"discs": discs, "sphere": sphere, "digits": digits}


def run(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "vidgan", *map(str, words)], check=True)


def made(name: str, folder: Path, how: str) -> tuple[Path, Path, list[np.ndarray]]:
    """A world's film, its generator and its latents; each made if it is not there."""
    if name == "earth":
        film, model = bundled("assets/earth.mp4"), bundled("assets/generator.safetensors")
    else:
        film, runs = folder / f"{name}.mkv", folder / f"{name}-runs"
        if not film.exists():
            with VideoWriter(Target.parse(film, fps=FPS, scale=1)) as writer:
                for frame in WORLDS[name]():
                    writer.write(frame)
        model = runs / "00000" / "generator.safetensors"
        if not (found := [*runs.glob("*/generator.safetensors")]):
            run("train", film, "--recipe", "tiny", "--runs", runs, "--device", "cpu", *how.split())
            found = [*runs.glob("*/generator.safetensors")]
        (model,) = found
    kept = folder / f"{name}.npz"
    if not kept.exists():
        inverter = Inverter(model, device="cpu")
        size = (inverter.generator.width, inverter.generator.height)
        shots = learn_motion.shots_of(film, size, notice=print)
        found = learn_motion.learn(inverter, shots, reader.fps_of(film))
        print(f"{name}: {found.psnr:.1f} dB, missed by {found.error:.2f}", flush=True)
        np.savez(kept, *found.latents)
    with np.load(kept) as shots:
        return film, model, list(shots.values())


def grey(frames: np.ndarray) -> np.ndarray:
    """Grey levels float32 [F, 32, 32]."""
    k = frames.shape[1] // SIDE
    levels = frames.astype(np.float32).mean(-1)
    return levels.reshape(len(frames), SIDE, k, SIDE, k).mean((2, 4))


def velocities(
    frames: np.ndarray, least: float = 0.0, *, gap: int = 2, reach: int = 4
) -> np.ndarray:
    """How blocks of pixels [F, 32, 32] move in two frames, by matching: int [F - 2, blocks, 2].

    least   grey levels by which one that moves has to match better than where it was
    """
    block = 8
    before, after = (
        frames[:-gap],
        np.pad(frames[gap:], [(0, 0), (reach,) * 2, (reach,) * 2], "edge"),
    )
    shifts = [(y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
    shifts.sort(key=lambda shift: np.hypot(*shift))  # of equal matches, the nearest
    count, costs = SIDE // block, []
    for y, x in shifts:
        other = after[:, reach + y : reach + y + SIDE, reach + x : reach + x + SIDE]
        off = np.abs(before - other).reshape(-1, count, block, count, block).mean((2, 4))
        costs.append(off.reshape(len(before), -1) + 0.02 * np.hypot(y, x) + least * any((y, x)))
    return np.array(shifts)[np.argmin(costs, axis=0)]


def histograms(frames: np.ndarray, least: float = 0.0, *, clip: int = 16) -> np.ndarray:
    """Of each clip, shares of blocks by speed and direction, and by acceleration: [C, 50]."""
    v = velocities(frames, least)
    a = np.concatenate([np.diff(v, axis=0), np.zeros_like(v[:1])])
    rows = []
    for start in range(0, len(v) - clip + 1, clip):
        row = []
        for kind in (v, a):
            y, x = np.moveaxis(kind[start : start + clip].reshape(-1, 2), 1, 0)
            level = np.digitize(np.hypot(y, x), (0.5, 1.5, 3))
            angle = np.round(np.arctan2(y, x) / (np.pi / 4)).astype(int) % 8
            bins = np.where(level == 0, 0, 1 + (level - 1) * 8 + angle)
            row.append(np.sqrt(np.bincount(bins, minlength=25) / len(bins)))
        rows.append(np.concatenate(row))
    return np.array(rows)


def spectrum(films: list[np.ndarray]) -> np.ndarray:
    """The mean log spectrum over time of the changes of frames, of pieces of 64."""
    pieces = [f[i : i + 65] for f in films for i in range(0, len(f) - 64, 64)]
    changes = np.stack([np.diff(one, axis=0).reshape(64, -1) for one in pieces])
    return np.log(np.square(np.abs(np.fft.rfft(changes, axis=1))).mean((0, 2)) + 1e-3)


def squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = (one.reshape(len(one), -1) / SIDE for one in (x, y))
    return np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T, 0)


def nearest_clips(films: list[np.ndarray], real: np.ndarray, clip: int = 16) -> list[float]:
    """RMS distances (grey levels) of clips from the nearest clip of the film."""
    found = []
    for film in films:
        table = squares(film, real)
        ends = len(real) - clip
        for start in range(0, len(film) - clip + 1, clip):
            along = sum(table[start + k, k : ends + k] for k in range(clip)) / clip
            found.append(float(np.sqrt(along.min())))
    return found


def objects(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centroid [F, 2] of what is bright, and how much that is [F]."""
    ink = np.clip(frames - 60, 0, None)
    mass = ink.sum((1, 2)) + 1e-6
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.stack([(ink * x).sum((1, 2)), (ink * y).sum((1, 2))], 1) / mass[:, None], mass


def turns_of(frames: np.ndarray) -> np.ndarray:
    """Where the centroid turns round, across or down, after 3 pixels or more: [T]."""
    found = []
    for line in objects(frames)[0].T:
        way, furthest = 0, line[0]
        for at in line:
            if (at - furthest) * way > 0 or not way:
                way = way or int(np.sign(at - furthest) * (abs(at - furthest) > 3))
                furthest = at if way else furthest
            elif abs(at - furthest) > 3:
                found.append(furthest)
                way, furthest = -way, at
    return np.array(found)


def speed_of(name: str, films: list[np.ndarray], real: np.ndarray) -> float:
    """The median speed in pixels per frame; of the sphere the mean turn, in phases of 90."""
    if name == "sphere":
        phases = [squares(film, real[:90]).argmin(1) for film in films]
        return float(np.mean([(np.diff(p) + 45) % 90 - 45 for p in phases]))
    steps = [np.linalg.norm(np.diff(objects(film)[0], axis=0), axis=1) for film in films]
    return float(np.median(np.concatenate(steps)))


def tuned(kind: str, generator: Synthesize, wanted: float) -> float:
    """The keyframes per frame at which frames change as much as wanted."""
    low, high = np.log(1e-3), np.log(3.0)
    for _ in range(9):
        pace = np.exp((low + high) / 2)
        at = np.random.default_rng(0).uniform(0, 40, 24)
        path = baseline(kind, 0, 40)
        a, b = (grey(generator(path.latents_at((at + d) / 40 % 1))) for d in (0, pace))
        low, high = (np.log(pace), high) if np.abs(a - b).mean() < wanted else (low, np.log(pace))
    return float(pace)


def baseline(kind: str, seed: int, frames: int, z_dim: int = 100) -> paths.Path:
    keyframes = paths.Keyframes(z_dim=z_dim, count=40, seed=seed)
    return paths.Path(kind=kind, keyframes=keyframes, frames=frames)


def distance(films: list[np.ndarray], real: np.ndarray, least: float) -> tuple[float, float]:
    """Of films from the real one, less the floor; and the floor."""
    halves = [histograms(half, least) for half in np.array_split(real, 2)]
    count = min(map(len, halves))
    rows = np.concatenate([histograms(film, least) for film in films])[:count]
    floor = frechet(halves[0][:count], halves[1][:count])
    return frechet(halves[0][:count], rows) - floor, floor


def measured(name: str, films: list[np.ndarray], real: np.ndarray) -> dict[str, float]:
    off, floor = distance(films, real, 0.0)
    changes = np.concatenate([np.abs(np.diff(film, axis=0)).mean((1, 2)) for film in films])
    usual = np.median(np.abs(np.diff(real, axis=0)).mean((1, 2)))
    own = nearest_clips([real[:800]], real[len(real) // 2 :])
    near = nearest_clips(films, real)
    clips = real[: len(real) // 16 * 16].reshape(-1, 16 * SIDE, SIDE)
    apart = np.sqrt(squares(clips, clips) / 16)[~np.eye(len(clips), dtype=bool)].mean()
    flows = [velocities(one).reshape(-1, 2) for one in films]
    figures = {
        "flow": float(np.linalg.norm(np.concatenate(flows).mean(0))),
        "film": float(np.linalg.norm(velocities(real).mean((0, 1)))),
        "distance": off,
        "floor": floor,
        "seen": distance(films, real, 1.0)[0],
        "spectrum": float(np.abs(spectrum(films) - spectrum([real])).mean()),
        "still": float((changes < usual / 5).mean()),
        "jump": float((changes > 3 * usual).mean()),
        "nearest": float(np.mean(near)),
        "replay": float(np.mean(near) / apart),
        "elsewhere": float(np.mean(near) / np.mean(own)) if np.mean(own) > 0.1 else np.nan,
    }
    if name != "earth":
        truth = {"sphere": 1.0}.get(name) or SPEED[name]
        found = speed_of(name, films, real)
        figures["speed"] = abs(found - truth) / truth
    if name in SPEED:
        usual_mass, masses = np.median(objects(real)[1]), [objects(film)[1] for film in films]
        turns, of_film = np.concatenate([turns_of(film) for film in films]), turns_of(real)
        figures["turns"] = len(turns) / sum(map(len, films)) / (len(of_film) / len(real))
        edges = np.minimum(np.abs(turns - of_film.min()), np.abs(turns - of_film.max()))
        figures["edge"] = float((edges < 3).mean()) if len(turns) else np.nan
        figures["whole"] = float((np.abs(np.concatenate(masses) / usual_mass - 1) < 1 / 3).mean())
    return figures


def linear(motion: Motion, seed: int, frames: int) -> np.ndarray:
    """Latents of a linear step with noise, from two places to the next, of spectral radius < 1."""
    before, now, after = motion.triples
    d, states = now.shape[1], np.concatenate([now, before], 1)
    ridge = np.diag(1e-4 * np.square(states).sum(0) + 1e-9)
    steps = np.linalg.solve(states.T @ states + ridge, states.T @ (after - now)).T
    left = after - now - states @ steps.T
    noise = np.linalg.cholesky(left.T @ left / len(left) + 1e-12 * np.eye(d))
    steps = np.concatenate([steps + np.eye(d, 2 * d), np.eye(d, 2 * d)])
    scale = min(1, 0.998 / np.abs(np.linalg.eigvals(steps)).max())
    steps[:d] *= np.repeat([scale, scale**2], d)
    rng, state, rows = np.random.default_rng(seed), np.zeros(2 * d), []
    for _ in range(1000 + frames):
        state = steps @ state
        state[:d] += noise @ rng.normal(size=d)
        rows.append(state[:d])
    return motion.mean + np.array(rows[-frames:]) @ motion.basis


def played(
    generator: Synthesize, shots: list[np.ndarray], wanted: float, asked: argparse.Namespace
):
    """Films by kind, and the learned motion."""
    motion, _ = learn_motion.fit(shots, FPS)
    index, seeds = np.arange(asked.frames), range(asked.films)
    pieces = [shot[i : i + asked.frames] for shot in shots for i in range(0, len(shot), 480)]
    latents = {
        "learned": [Played(motion, seed, asked.frames)(index) for seed in seeds],
        "linear": [linear(motion, seed, asked.frames) for seed in seeds],
        "inverted": pieces[: asked.films],
    }
    for kind in BASELINES:
        at = index * tuned(kind, generator, wanted) / 40 % 1
        latents[kind] = [baseline(kind, seed, 40).latents_at(at) for seed in seeds]
    films = {k: [generator(z.astype(np.float32)) for z in rows] for k, rows in latents.items()}
    return films, motion


def drifts(generator: Synthesize, motion: Motion, film: np.ndarray) -> list[float]:
    """How much further from the film the end of a long play is than its start, of three seeds."""
    features = Lite0()
    real, found = features(film[np.linspace(0, len(film) - 1, 100).astype(int)]), []
    for seed in range(3):
        play = Played(motion, seed, 3000)
        pieces = [play(np.arange(at, at + 100)).astype(np.float32) for at in (0, 2900)]
        first, last = (frechet(features(generator(z)), real) for z in pieces)
        found.append(last / first)
    return found


def slices(name: str, film: np.ndarray) -> np.ndarray:
    """Time downwards; across, x (of the earth y: it comes nearer): uint8 [120, 128, 3]."""
    if name == "earth":
        lines = film[:, :, film.shape[2] // 2]
    else:
        lines = film[:, SIDE // 2] if name == "sphere" else film.max(1)
    lines = np.pad(lines, [(0, max(0, 120 - len(lines))), (0, 0), (0, 0)])[:120]
    return lines.repeat(128 // lines.shape[1], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="discs,sphere,digits,earth")
    parser.add_argument("--train", default="")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--films", type=int, default=10)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    strips = []
    for name in asked.only.split(","):
        film, model, shots = made(name, asked.folder, asked.train)
        generator = synthesis.open_generator(model, device="cpu")
        size = (generator.width, generator.height)
        stream = reader.read_on(film, reader.Place(), every=1, size=size, notice=print)
        colours = np.stack([frame for _, frame in stream])
        real = grey(colours)
        films, motion = played(generator, shots, np.abs(np.diff(real, axis=0)).mean(), asked)
        for kind, some in films.items():
            figures = measured(name, [grey(one) for one in some], real)
            text = (f"{key} {value:.3f}" for key, value in figures.items())
            print(f"{name:7} {kind:8}", *text, flush=True)
        found = drifts(generator, motion, colours)
        print(f"{name:7} drift    {np.mean(found):.2f} ({min(found):.2f} to {max(found):.2f})")
        kinds = ("inverted", "learned", "linear", "loop", "walk")
        shown = [colours, *(films[kind][0] for kind in kinds)]
        row = [
            np.pad(slices(name, one), [(2, 2), (2, 2), (0, 0)], constant_values=255)
            for one in shown
        ]
        strips.append(np.concatenate(row, 1))
    Image.fromarray(np.concatenate(strips)).save(asked.folder / "slices.png")


if __name__ == "__main__":
    main()
