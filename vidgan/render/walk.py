"""A walk: all that decides the frames of a film except the model, as options or as a JSON file.

`Walk` is what a person asks for. `Walk.bind` works out what depends on the model and on the sound,
and gives the `BoundWalk` that is rendered and exported. An unknown key in a file is an error.
"""

import hashlib
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from vidgan import config
from vidgan.disk.files import write_bytes
from vidgan.errors import ConfigError, ModelError, UsageError
from vidgan.film import sound
from vidgan.film.target import Target, parse_fps
from vidgan.generator import classes, runs
from vidgan.generator import motion as motions
from vidgan.generator.synthesis import Synthesize
from vidgan.latent import paths as curves
from vidgan.latent.directions import sliders
from vidgan.latent.motion import Motion, Played, play
from vidgan.render.constant_speed import constant_speed
from vidgan.render.grid import Grid
from vidgan.render.mixed import Mixed

logger = logging.getLogger(__name__)
FORMAT, _FORMER = "vidgan-walk-2", "vidgan-walk-1"
# So that players which do not know these refuse them.
_WITH_DIRECTIONS, _WITH_MOTION = "vidgan-walk-3", "vidgan-walk-4"
_MOST_CELLS = 144
_NEWER = ("audio_part", "audio_follow", "audio_strength", "audio_smoothing", "fade", "generator")
_NEWER += ("directions", "motion", "speed", "reverse")
_FILES = ("audio", "motion", "generator")


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What the options of `vidgan render` set. A field's name is its key in the file."""

    format: str = FORMAT
    frames: int = 120  # with audio: as many as the sound is long
    fps: str = "30"
    path: str = "loop"
    closed: bool = True
    seed: int = 0
    keyframes: list | int | None = None  # a number, or [{"seed": 3, "index": 0}, {"latent": [...]}]
    hold: int | float = 0.0
    ease: str = "linear"
    truncation: int | float | list[int | float] = 1.0  # 0 to 1; a list is gone through in turn
    directions: list | None = None  # [{"name": "brighter", "strengths": [-2, 2], "vector": [...]}]
    motion: str | None = None  # the file of what the path `motion` plays
    speed: int | float = 1.0  # of it: 1 is that of its film
    reverse: bool = False
    labels: list[int | str] | None = None  # numbers of classes, or names; only numbers once bound
    grid: list[int] | None = None  # [columns, rows]; cell c shows the walk of seed + c
    constant_speed: bool = False
    audio: str | None = None
    audio_part: list[int | float] | None = None  # [from, to] or [from], in seconds
    audio_follow: list[str] | None = None  # see `film.sound.listen`, as for the next two
    audio_strength: int | float = 1.0
    audio_smoothing: int | float = 0.25
    fade: int | float = 0.0  # seconds of fading in from the walk before, in a list of walks
    generator: str | None = None  # its file or run; None: the film's
    z_dim: int | None = None  # of the model; None before `bind`
    model: str | None = None  # SHA-256 of its file
    positions: list[list[int | float]] | None = None  # as measured: [cell][frame], from 0 to 1
    gain: list[int | float] | None = None  # of each frame, as measured in the sound

    @classmethod
    def load(cls, source: Path) -> Self:
        """Read a file. Raises ConfigError for a key or a value that cannot be."""
        first, *others = cls.load_all(source)
        if others:
            raise ConfigError(f"{source}: a list of walks; only vidgan render shows one as a film.")
        return first

    @classmethod
    def load_all(cls, source: Path) -> list[Self]:
        """Read a file that holds a walk or a list of them."""
        try:
            content = json.loads(source.read_text(), parse_int=_number)
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or f"not JSON: {error}"
            raise ConfigError(f"{source}: cannot be read as a walk ({reason}).") from error
        entries = content if isinstance(content, list) and content else [content]
        return [cls._of(entry, source) for entry in entries]

    @classmethod
    def _of(cls, content: object, source: Path) -> Self:
        if not isinstance(content, dict):
            content = {}
        if content.get("format") == _FORMER:
            if content.get("truncation", 1) != 1 or content.get("audio"):
                raise ConfigError(
                    f"{source}: of an older vidgan, which scaled latents by the truncation and the "
                    f'sound. To play it as vidgan does now, set its "format" to "{FORMAT}".'
                )
            content["format"] = FORMAT  # without the two, nothing has changed
        stated = _format(content.get("motion"), content.get("directions"))
        if content.get("format") == stated:
            content["format"] = FORMAT
        elif stated != FORMAT:
            raise ConfigError(f'{source}: with what is in it, its "format" is "{stated}".')
        if content.get("format") != FORMAT:
            raise ConfigError(f'{source}: not a walk; these have "format": "{FORMAT}".')
        if type(content.get("fps")) in (int, float):
            content["fps"] = str(content["fps"])
        try:
            walk = config.from_dict(content, cls)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from error
        if walk.z_dim is None:
            raise ConfigError(f"{source}: z_dim is missing; vidgan render --save-walk writes it.")
        model = walk.generator
        model = model if model in (None, "earth") else str(source.parent / model)
        audio, motion = (name and str(source.parent / name) for name in (walk.audio, walk.motion))
        return replace(walk, audio=audio, motion=motion, generator=model)

    def save(self, target: Path, *, force: bool = True) -> None:
        """Write a file with every key and every keyframe. Files in it are named as seen from it."""
        write_bytes(target, self.text(target.parent).encode() + b"\n", force=force)

    def text(self, folder: Path) -> str:
        """What a file in a folder says: a line for each key and each keyframe, for people."""
        names = {key: _seen_from(folder, getattr(self, key)) for key in _FILES}
        names["format"] = _format(self.motion, self.directions)
        keyframes, fps = self.keyframes_in_full(), str(parse_fps(self.fps))
        lines = []
        for key, value in asdict(replace(self, keyframes=keyframes, fps=fps, **names)).items():
            text = json.dumps(value)
            if key == "keyframes":
                text = "[\n" + ",\n".join(f"    {json.dumps(entry)}" for entry in value) + "\n  ]"
            # Players made before there were such keys can play a walk without them.
            if key not in _NEWER or value != getattr(Walk, key):
                lines.append(f'  "{key}": {text}')
        return "{\n" + ",\n".join(lines) + "\n}"

    def changed(self, given: Mapping[str, object]) -> Self:
        """The same walk with other values of some fields, which may need to be measured again.

        Another fps alone keeps the duration and the path, which gets more frames, or fewer.
        """
        walk = replace(self, **given)
        same = all(getattr(self, key) == value for key, value in given.items())
        seeded = walk.path != "motion"  # which is not made of its keyframes
        anew = given.keys() & {"seed", "keyframes"} == {"seed"} and type(self.keyframes) is list
        if anew and seeded:
            if any("latent" in entry for entry in self.keyframes if isinstance(entry, dict)):
                why = "of a motion or a photograph, which no seed decides"
                raise UsageError(f"--seed: the walk holds latents, as {why}; omit it.")
            walk = replace(walk, keyframes=len(self.keyframes))
        if "fps" in given and "frames" not in given:
            count = walk.keyframes
            count = walk._keyframes(0).count if seeded and count is None else count
            frames = max(1, round(self.frames * parse_fps(walk.fps) / parse_fps(self.fps)))
            walk = replace(walk, frames=frames, keyframes=count)
        measured = self.constant_speed or self.audio or walk.constant_speed or walk.audio
        return replace(walk, positions=None, gain=None) if measured and not same else walk

    def bind(
        self, generator: Synthesize, *, name: str = "the model", sound_into: Target | None = None
    ) -> "BoundWalk":
        """Work out what depends on model and sound. Warns of a walk saved with another model.

        What a file says of both is not measured again, but for the speed of another model.

        name         what to call the model in messages
        sound_into   the film that will hold the sound; None where only its rhythm is wanted
        """
        if self.z_dim not in (None, generator.z_dim):
            raise ModelError(f"the walk has z_dim {self.z_dim}; {name} takes {generator.z_dim}.")
        walk = replace(self, z_dim=generator.z_dim, model=generator.weights_sha256)
        if self.labels:
            walk = replace(walk, labels=classes.numbers_of(self.labels, generator.class_names))
        if self.model not in (None, generator.weights_sha256):
            fits = runs.of_weights(self.model)
            advice = f" Saved with: --model {fits}" if fits else ""
            logger.warning(
                f"the walk was saved with another model than {name}; frames differ.{advice}"
            )
            if self.constant_speed:
                walk = replace(walk, positions=None, gain=None)
        drive, measured = None, walk.positions is not None
        if self.audio and sound_into:
            sound.check(Path(self.audio), sound_into)
        if self.audio and not measured:
            drive = self.listen()
            walk = replace(walk, frames=len(drive.speed))
        played = None
        if self.motion and self.path == "motion":
            played = motions.read(Path(self.motion), generator.weights_sha256)
            if generator.classes and not walk.labels and played.label is not None:
                walk = replace(walk, labels=[played.label])
        paths = walk.paths(generator.classes, played)
        if drive:
            positions = drive.timing(paths[0].steps)[: walk.frames]
            paths = [replace(path, positions=positions, gain=drive.gain) for path in paths]
        if walk.constant_speed and not measured:
            for cell, path in enumerate(paths):
                paths[cell], before, after = constant_speed(path, generator)
                logger.info(f"constant speed: the fastest change was {before}, now {after}")
        return BoundWalk(walk, tuple(paths), _around(generator, walk))

    def listen(self) -> sound.Drive:
        """What the sound does, frame by frame. Raises DataError and UsageError."""
        song, part, follow = Path(self.audio), self.audio_part or (0,), self.audio_follow or ()
        fps, strength, smoothing = parse_fps(self.fps), self.audio_strength, self.audio_smoothing
        return sound.listen(song, fps, part, follow, strength, smoothing)

    def paths(self, class_count: int = 0, motion: Motion | None = None) -> list[curves.Path]:
        """One path per cell of the grid, row by row. Labels are numbers. Raises UsageError."""
        self._check_motion()
        cells = math.prod(self.grid or [1])
        if self.grid and (len(self.grid) != 2 or min(self.grid) < 1 or cells > _MOST_CELLS):
            text = "x".join(map(str, self.grid))
            raise UsageError(f"--grid {text}: columns x rows, up to {_MOST_CELLS} cells: 4x3.")
        if self.positions is not None and len(self.positions) != cells:
            raise UsageError(f"positions: {len(self.positions)} lists for {cells} walks.")
        moved = sliders(self.directions, self.z_dim) if self.directions else ()
        scales = self.truncation if isinstance(self.truncation, list) else [self.truncation]
        return [
            curves.Path(
                kind="spline" if motion else self.path,
                keyframes=self._played(motion, cell) if motion else self._keyframes(cell),
                frames=self.frames,
                closed=self.closed,
                hold=self.hold,
                ease=self.ease,
                truncation=scales,
                labels=self.labels or (),
                classes=class_count,
                positions=self.positions and np.array(self.positions[cell], np.float64),
                gain=None if self.gain is None else np.array(self.gain, np.float64),
                sliders=moved,
            )
            for cell in range(cells)
        ]

    def keyframes_in_full(self) -> list[dict[str, object]]:
        """The keyframes as they stand in a file."""
        if isinstance(self.keyframes, list) or self.path == "motion":
            return self.keyframes or []
        return _of_seed(self.seed, self._keyframes(0).count)

    def _check_motion(self) -> None:
        plays, counted = self.path == "motion", isinstance(self.keyframes, int)
        changed, stops = self.speed != 1 or self.reverse, self.hold or self.ease != "linear"
        for wrong, why in (
            (plays != bool(self.motion), "--path motion and --motion: both or neither."),
            (not plays and changed, "--speed and --reverse: only for --path motion."),
            (not 0.01 <= self.speed <= 100, f"--speed {self.speed:g}: from 0.01 to 100."),
            (plays and stops, "--path motion has its own speed: omit --hold and --ease."),
            (plays and counted, f"--keyframes {self.keyframes}: name what to meet: coast,5."),
        ):
            if wrong:
                raise UsageError(why)

    def _played(self, motion: Motion, cell: int) -> Played:
        """The motion for a cell, at the speed of its film times --speed."""
        rate = motion.fps / float(parse_fps(self.fps)) * self.speed
        met, back = [curves.latent_of(e, self.z_dim) for e in self.keyframes or ()], self.reverse
        return play(motion, self.seed + cell, self.frames, rate, self.closed, met=met, reverse=back)

    def _keyframes(self, cell: int) -> curves.Keyframes:
        given = self.keyframes if isinstance(self.keyframes, list) else None
        seeded = curves.seeded(
            self.path,
            seed=self.seed + cell,
            z_dim=self.z_dim,
            frames=self.frames,
            closed=self.closed,
            count=len(given) if given is not None else self.keyframes,
        )
        if given is None or given == _of_seed(self.seed, seeded.count):
            return seeded
        if self.grid:
            raise UsageError("--grid: each cell has keyframes of its own seed; give only --seed.")
        return replace(seeded, given=np.stack([curves.latent_of(e, self.z_dim) for e in given]))


@dataclass(frozen=True, eq=False)
class BoundWalk:
    """A walk through the latent space of one model: a `pipeline.LatentPath`.

    Its rows, float32 [n, cells * (Z + classes)], hold for each cell of the grid a latent and then
    its class weights, if it has labels. With several stages, each begins with their shares.
    `generator` makes a frame of such a row.
    """

    walk: Walk  # with z_dim, model and, of a sound, the number of frames
    paths: tuple[curves.Path, ...]  # one per cell, row by row
    generator: Synthesize  # with the grid, or the classes, around it
    stages: int = 1  # generators that the film goes through

    def through(self, generators: Sequence[Synthesize]) -> Self:
        """The same walk, while one generator after the other makes the frames."""
        stages = [_around(generator, self.walk) for generator in generators]
        mixed = Mixed(stages, [slice(len(stages), None)] * len(stages))
        return replace(self, generator=mixed, stages=len(stages))

    @property
    def frames(self) -> int:
        return self.walk.frames

    def latents(self, start: int, stop: int) -> np.ndarray:
        parts = []
        for path in self.paths:
            weights = path.class_weights(start, stop)
            parts += [path.latents(start, stop)] + ([] if weights is None else [weights])
        if self.stages > 1:
            at = np.arange(start, stop) * ((self.stages - 1) / max(self.frames - 1, 1))
            shares = 1 - np.abs(at[:, None] - np.arange(self.stages))
            parts.insert(0, shares.clip(min=0).astype(np.float32))
        return np.concatenate(parts, axis=1)

    def save(self, target: Path, *, force: bool = True) -> None:
        """Write the walk with all that was measured, so that others can play it."""
        self.measured().save(target, force=force)

    def measured(self) -> Walk:
        positions, gain = [path.positions for path in self.paths], self.paths[0].gain
        positions = None if positions[0] is None else [one.tolist() for one in positions]
        walk, played = self.walk, self.paths[0].keyframes
        if isinstance(played, Played) and not walk.grid:
            # As what was played, so that every player plays it, and nobody needs the motion.
            held = {"path": "spline", "keyframes": played.entries(), "motion": None}
            walk = replace(walk, **held, speed=1.0, reverse=False)
        return replace(walk, positions=positions, gain=None if gain is None else gain.tolist())

    def comment(self) -> dict[str, object]:
        """What a film says of how it was made. It names none of the user's files."""
        walk, keyframes = self.walk, self.walk.keyframes_in_full()
        # As many numbers as frames, and a name of the user's.
        walk = replace(walk, positions=None, gain=None, generator=None, motion=None)
        facts = {k: value for k, value in vars(walk).items() if value != getattr(Walk, k)}
        if walk.directions:
            facts["directions"] = {one["name"]: one["strengths"] for one in walk.directions}
        if any("latent" in entry for entry in keyframes):  # too many numbers for a comment
            facts["keyframes_sha256"] = hashlib.sha256(json.dumps(keyframes).encode()).hexdigest()
            keyframes = len(keyframes)
        elif keyframes == _of_seed(walk.seed, len(keyframes)):
            facts["seed"], keyframes = walk.seed, len(keyframes)
        facts["generators"] = self.stages if self.stages > 1 else None
        facts |= {"path": walk.path, "keyframes": keyframes, "audio": bool(walk.audio) or None}
        return {k: facts[k] for k in sorted(facts) if k != "z_dim" and facts[k] is not None}


def _around(generator: Synthesize, walk: Walk) -> Synthesize:
    """What makes frames of the rows of a walk."""
    columns, rows = walk.grid or (1, 1)
    return Grid(generator, columns=columns, rows=rows) if walk.grid or walk.labels else generator


def _seen_from(folder: Path, name: str | None) -> str | None:
    if name in (None, "earth") or Path(name).is_absolute():
        return name
    file, folder = Path(name).resolve(), folder.resolve()
    return Path(os.path.relpath(file, folder) if file.drive == folder.drive else file).as_posix()


def _format(motion: object, directions: object) -> str:
    return _WITH_MOTION if motion else _WITH_DIRECTIONS if directions else FORMAT


def _number(digits: str) -> int | float:
    """The longest whole number of use is a seed, below 2^64. NumPy cannot hold longer ones."""
    return int(digits) if len(digits) <= 20 else float(digits)


def _of_seed(seed: int, count: int) -> list[dict[str, int]]:
    return [{"seed": seed, "index": index} for index in range(count)]
