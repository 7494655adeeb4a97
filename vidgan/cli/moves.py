"""The options of "The walk", which say what a film shows, as a `render.walk.Walk`."""

import contextlib
import itertools
import math
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from vidgan.cli import terminal
from vidgan.cli.terminal import Whole
from vidgan.errors import UsageError

if TYPE_CHECKING:
    from vidgan.render.walk import Walk


@Parameter(name="*", group=Group("The walk", sort_key=1))
@dataclass(frozen=True, kw_only=True)
class WalkOptions:
    """What the film shows. `render.walk.Walk` keeps these. They win over a file.

    Attributes:
        frames: The number of frames. By default 120.
        seconds: How long the film is, instead of --frames: 10 makes 300 frames at 30 per second.
        path: How to move from keyframe to keyframe: loop (smooth, the default), lerp (straight),
            slerp (along a sphere), spline (Catmull-Rom), circle, walk (random), noise, or motion:
            as things moved in a film (see vidgan motion).
        seed: The number that decides the keyframes. Each seed gives another film. By default 0.
        seeds: The seeds of the pictures to pass through, for example 3,17,99. They replace --seed.
        keyframes: The number of pictures to pass through, by default one per 30 frames; or
            favourites (see vidgan keep), seeds, photographs (see vidgan invert) and .npy files of
            latents, arrays [K, z_dim]: coast,17,anna.jpg,latents.npy.
        start: Begin at this photograph, seed or favourite: one keyframe.
        motion: The file of what --path motion plays. By default the one beside the generator.
        speed: Of --path motion: 1, the default, is as fast as its film, 0.5 half as fast.
        reverse: Play the motion backwards.
        fps: Frames per second, for example 30 (the default), 23.976 or 24000/1001. With --walk the
            film stays as long: 60 instead of 30 makes twice the frames, in finer steps.
        loop: End where the film starts, so that it repeats without a jump. This is the default.
        hold: The part of the time to stand still on keyframes, from 0 to below 1, for example 0.3.
        ease: How the speed changes between keyframes: linear (the default), smoothstep or in-out.
        truncation: From 1, the default, to 0. Less stays nearer to one picture, which the seed
            decides, and varies less. A list, for example 0.5,1, changes it over the film.
        direction: Move all latents along named directions (see vidgan directions), for example
            brighter=1.5, or brighter=-2..2,warmer=1. A range is gone through over the film, and
            back if it loops.
        labels: The classes to show, one after the other, for a model that has classes, by number or
            name: 3,7,3 or flags,maps. What is both is the number. A name with a comma needs its
            number.
        grid: Show several walks side by side, as columns x rows, for example 4x3. Each cell has a
            seed of its own: --seed, --seed + 1, ...
        constant_speed: Time the frames so that each changes as much as the next.
        audio: A sound (wav, mp3, flac, ...) to move to. The film is as long, and plays it.
        audio_part: Only this part of the sound, for example 0:30-1:00, or 0:30- for the rest.
        audio_follow: What moves the walk: beat or loudness, by default both; and only bass (below
            250 Hz), voice or treble (above 4 kHz). For example bass,beat.
        audio_strength: How much the sound moves the walk, from 0 (not at all) to 10. By default 1.
        audio_smoothing: Seconds over which the movement is smoothed. By default 0.25.
        fade: Seconds of cross-fade from each --walk to the next. By default 0.
    """

    frames: Whole | None = None
    seconds: float | None = None
    path: str | None = None
    seed: Whole | None = None
    seeds: str | None = None
    keyframes: str | None = None
    start: str | None = None
    motion: Path | None = None
    speed: float | None = None
    reverse: bool | None = None
    fps: str | None = None
    loop: Annotated[bool | None, Parameter(negative="--no-loop")] = None
    hold: float | None = None
    ease: str | None = None
    truncation: str | None = None
    direction: str | None = None
    labels: str | None = None
    grid: str | None = None
    constant_speed: Annotated[bool | None, Parameter(negative="--no-constant-speed")] = None
    audio: Path | None = None
    audio_part: str | None = None
    audio_follow: str | None = None
    audio_strength: float | None = None
    audio_smoothing: float | None = None
    fade: float | None = None


def walks_of(
    moves: WalkOptions, files: str | None, model: str | None, source: Path, device: str = "auto"
) -> list["Walk"]:
    """The walk that options say, or those of files, in which options replace keys.

    source  the file of the generator, beside which favourites lie
    device  where photographs are inverted
    """
    from vidgan.render import chapters
    from vidgan.render.walk import Walk

    given = {key: value for key, value in vars(moves).items() if value is not None}
    seconds, direction = given.pop("seconds", None), given.pop("direction", None)
    seeds, keyframes = given.pop("seeds", None), given.pop("keyframes", None)
    if start := given.pop("start", None):
        if keyframes or seeds or moves.path != "motion":
            raise UsageError("--start: only with --path motion, and instead of --keyframes.")
        keyframes = start if not start.isdecimal() else f"{start},"
    if keyframes and not files:
        _check(given, source)
    parsed = {
        "closed": given.pop("loop", None),
        "truncation": numbers("--truncation", moves.truncation, float),
        "directions": directions_of(direction, source),
        "labels": labels_of(moves.labels),
        "grid": None if moves.grid is None else list(terminal.pair("--grid", moves.grid)),
        "motion": _motion(moves, files, source),
        "audio": moves.audio and str(moves.audio),
        "audio_part": moves.audio_part and _part(moves.audio_part),
        "audio_follow": moves.audio_follow and moves.audio_follow.split(","),
        "keyframes": _keyframes(seeds, keyframes, source, device),  # which may take minutes
    }
    given |= {key: value for key, value in parsed.items() if value is not None}
    favourites = given["keyframes"] if isinstance(given.get("keyframes"), list) else []
    classes = [entry.pop("class", None) for entry in favourites]
    walks = [one for file in names(files) for one in Walk.load_all(file)] if files else [Walk()]
    several = len(walks) > 1
    if seconds is not None:
        given["frames"] = _frames(seconds, moves.fps or walks[0].fps, moves.frames)
    common = {"fps": walks[0].fps} | given
    walks = [walk.changed(common) for walk in walks] if files else [Walk(**given)]
    if any(label is not None for label in classes) and not moves.labels:
        labels = [label or 0 for label in classes]  # a loop leaves out the last if it is the first
        walks = [replace(one, labels=labels + labels[: int(one.closed)]) for one in walks]
    if "frames" in given and (several or walks[0].audio):
        length = "--frames" if seconds is None else "--seconds"
        of = files if several else "--audio" if moves.audio else f"the sound of {files}"
        raise UsageError(f"{of} and {length}: the film is as long as the first; omit {length}.")
    if moves.fade and not several:
        raise UsageError("--fade: from walk to walk, so it needs several: --walk a.json,b.json.")
    for key in given:
        if key.startswith("audio_") and not walks[0].audio:
            raise UsageError(f"--{key.replace('_', '-')}: there is no sound; add --audio song.mp3.")
    models = names(model) if model else []
    if len(models) > 1 and len(models) != len(walks):
        raise UsageError(f"--model {model}: {len(models)} models for {len(walks)} of --walk.")
    if models:  # that of a single walk is no part of it
        own = itertools.cycle([str(one) if several else None for one in models])
        walks = [replace(walk, generator=next(own)) for walk in walks]
    if direction and any(walk.generator for walk in walks):
        raise UsageError("--direction: is of one generator, and the walks have their own.")
    return chapters.with_one_sound(walks) if several else walks


def _check(given: dict[str, object], source: Path) -> None:
    """Raise what is wrong beside the keyframes before photographs are inverted, in minutes."""
    from vidgan.generator import classes, synthesis
    from vidgan.render.walk import Walk

    alone = {key: given[key] for key in ("path", "hold", "ease") if key in given}
    if given.get("path") != "motion":
        Walk(**alone, keyframes=2).paths()
    if labels := labels_of(given.get("labels")):
        classes.numbers_of(labels, synthesis.class_names(source))


def _motion(moves: WalkOptions, files: str | None, source: Path) -> str | None:
    """What --path motion plays. Files of walks name their own."""
    if moves.motion or moves.path != "motion" or files:
        return moves.motion and str(moves.motion)
    from vidgan.generator.motion import file_of

    if not file_of(source).exists():
        raise UsageError("--path motion: no motion was learned yet; first vidgan motion film.mp4.")
    return str(file_of(source))


def names(text: str) -> list[Path]:
    """Files with commas between, or one that has commas in its name."""
    return [Path(text)] if Path(text).exists() else [Path(name) for name in text.split(",")]


def _part(text: str) -> list[float]:
    """'0:30-1:00' -> [30.0, 60.0], and '0:30-' -> [30.0]."""
    first, _, last = text.partition("-")
    try:
        clocks = [reversed(clock.split(":")) for clock in ([first, last] if last else [first])]
        return [sum(float(n) * 60**i for i, n in enumerate(clock)) for clock in clocks]
    except ValueError:
        raise UsageError(f"--audio-part {text}: as 0:30-1:00, or 0:30- for the rest.") from None


def _frames(seconds: float, fps: str, frames: int | None) -> int:
    """How many frames last as long, to the nearest whole number."""
    if frames is not None:
        raise UsageError("--frames and --seconds: one of the two.")
    from vidgan.film.target import parse_fps

    count = round(Fraction(str(seconds)) * parse_fps(fps)) if math.isfinite(seconds) else 0
    if count < 1:
        raise UsageError(f"--seconds {seconds:g}: a time of a frame or longer, for example 10.")
    return count


def _keyframes(
    seeds: str | None, keyframes: str | None, model: Path, device: str
) -> list | int | None:
    """What a walk keeps of --seeds 3,17,99, and of --keyframes 5, or coast,photo.jpg."""
    if seeds is not None and keyframes is not None:
        raise UsageError("--seeds and --keyframes: one of the two.")
    if seeds is not None:
        return picked(seeds, None, model)
    if keyframes is None:
        return None
    with contextlib.suppress(ValueError):
        return int(keyframes)
    return picked(None, keyframes, model, device)


def picked(
    seeds: str | None, keyframes: str | None, model: Path, device: str = "auto"
) -> list[dict[str, object]]:
    """The keyframes of --seeds 17,203 or of --keyframes coast,5,photo.jpg,latents.npy."""
    from vidgan.data.pictures import SUFFIXES
    from vidgan.generator import favourites

    if keyframes is None:
        return [{"seed": seed, "index": 0} for seed in numbers("--seeds", seeds, int) or ()]
    parts = [keyframes] if Path(keyframes).is_file() else re.split("[,>]", keyframes)
    names, kept = [part.strip() for part in parts if part.strip()], favourites.favourites(model)
    photos = [n for n in names if n not in kept and Path(n).suffix.lower() in SUFFIXES]
    known = _inverted(photos, model, device) if photos else {}
    found: list[dict[str, object]] = []
    for name in names:
        if name in known:
            found.append(dict(known[name]))
        elif name in kept or not (Path(name).is_file() or name.endswith(".npy")):
            found += favourites.keyframes_of(model, name)
        else:
            found += _rows_of(Path(name))
    return found


def _inverted(names: list[str], model: Path, device: str) -> dict[str, dict[str, object]]:
    """The keyframe of each photograph, found by `vidgan.edit`."""
    from vidgan.edit.invert import Inverter

    with terminal.working_bar("training the encoder") as progress:
        inverter = Inverter(model, device=device, progress=progress)
        originals = {name: inverter.read(name) for name in names}  # before the long work
        found = {name: inverter(original) for name, original in originals.items()}
    keyframes: dict[str, dict[str, object]] = {}
    for name, one in found.items():
        terminal.to_stderr(f"{name}: met at {one.psnr:.1f} dB")
        keyframes[name] = {"latent": one.latent.tolist()}
        if one.label is not None:
            keyframes[name]["class"] = one.label
    return keyframes


def _rows_of(file: Path) -> list[dict[str, object]]:
    from vidgan.latent import npy

    try:
        return [{"latent": row.tolist()} for row in npy.read_latents(file)]
    except UsageError as error:
        raise UsageError(f"--keyframes {error}") from error


def directions_of(text: str | None, model: Path) -> list[dict] | None:
    """'brighter=-2..2' -> what a walk keeps of it, with the vectors of this model."""
    if text is None:
        return None
    from vidgan.generator import directions
    from vidgan.latent.directions import parsed

    return directions.entries_of(model, parsed(text))


def labels_of(text: str | None) -> list[int | str] | None:
    """'3>flags' -> ["3", "flags"]. Only the model knows which classes these are."""
    return None if text is None else re.split("[,>]", text)


def numbers(option: str, text: str | None, kind: type[int] | type[float]) -> list | None:
    """'3,7,3' -> [3, 7, 3]. The shells let pass 3>7>3 only in quotes."""
    if text is None:
        return None
    try:
        return [kind(part) for part in re.split("[,>]", text)]
    except ValueError:
        example = "3,7,3" if kind is int else "0.5,1"
        raise UsageError(f"{option} {text}: numbers with commas between: {example}.") from None
