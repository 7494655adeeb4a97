"""The recipe of a video: a JSON file that makes the same frames again, here or on the web page.

Read strictly: a key that nobody knows is an error, never ignored. The model itself is not in it.
"""

import difflib
import hashlib
import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_type_hints

import numpy as np

from vidgan.disk.files import write_bytes
from vidgan.errors import ConfigError, ModelError, UsageError
from vidgan.film import sound as audio_module
from vidgan.film import writer
from vidgan.film.sound import Drive
from vidgan.generator.synthesis import Synthesize
from vidgan.latent import paths as trajectory
from vidgan.latent import seeds
from vidgan.render import constant_speed as pacing
from vidgan.render import grid as mosaic
from vidgan.render.pipeline import LatentPath

logger = logging.getLogger(__name__)

FORMAT = "vidgan-walk-1"
_MOST_CELLS = 144


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What each option of `vidgan render` sets; the field's name is the key in the file."""

    z_dim: int  # 0: of the model that comes
    format: str = FORMAT
    model: str | None = None  # SHA-256 of its file
    path: str = "loop"
    closed: bool = True
    seed: int = 0
    keyframes: list | int | None = None  # of {"seed": 3, "index": 0} or {"latent": [...]}; how many
    frames: int = 120
    fps: str = "30"
    hold: int | float = 0.0
    ease: str = "linear"
    truncation: int | float | list = 1.0  # several: in turn
    labels: list | None = None
    grid: list | None = None  # columns, rows; cell c walks from seed + c
    constant_speed: bool = False
    audio: str | None = None

    def heard(self, target: Path) -> tuple["Recipe", Drive | None]:
        """As long as its sound, and what that sound does. Raises UsageError or DataError."""
        if not self.audio:
            return self, None
        if target.suffix != ".onnx":  # a baked walk moves to the sound and holds none
            audio_module.check(Path(self.audio), target)
        drive = audio_module.listen(Path(self.audio), fps=writer.check_fps(self.fps))
        return replace(self, frames=len(drive.speed)), drive

    def made_for(self, generator: Synthesize, name: str) -> "Recipe":
        """Bound to a model; another one than it was saved with is told. Raises ModelError."""
        if self.z_dim not in (0, generator.z_dim):
            raise ModelError(f"a recipe of z_dim {self.z_dim}; {name} takes {generator.z_dim}.")
        if self.model not in (None, generator.sha256):
            logger.warning(
                f"the recipe was saved with another model than {name}; the frames will differ."
            )
        return replace(self, z_dim=generator.z_dim, model=generator.sha256)

    def comment(self) -> dict[str, object]:
        """What a video says of how it was made; the names of the user's files stay out."""
        told = {k: value for k, value in vars(self).items() if value != getattr(Recipe, k, None)}
        keyframes = self.spelled_out().keyframes
        if any("latent" in entry for entry in keyframes):  # too many numbers for a comment
            digest = hashlib.sha256(json.dumps(keyframes).encode()).hexdigest()
            told, keyframes = told | {"keyframes_sha256": digest}, len(keyframes)
        elif keyframes == _of_seed(self.seed, len(keyframes)):
            told, keyframes = told | {"seed": self.seed}, len(keyframes)
        told |= {"path": self.path, "keyframes": keyframes, "audio": bool(self.audio) or None}
        return {k: told[k] for k in sorted(told) if k != "z_dim" and told[k] is not None}

    def spelled_out(self) -> "Recipe":
        """With every keyframe named."""
        if isinstance(self.keyframes, list):
            return self
        count = self.paths(classes=max([0, *(self.labels or [])]) + 1)[0].keyframes.count
        return replace(self, keyframes=_of_seed(self.seed, count))

    def paths(self, classes: int = 0) -> list[trajectory.Path]:
        """One path per cell of the grid, row by row. Raises UsageError."""
        cells = math.prod(self.grid or [1])
        if self.grid and (len(self.grid) != 2 or min(self.grid) < 1 or cells > _MOST_CELLS):
            text = "x".join(map(str, self.grid))
            raise UsageError(f"--grid {text}: columns x rows, 1 to {_MOST_CELLS} cells: 4x3.")
        scales = self.truncation if isinstance(self.truncation, list) else [self.truncation]
        return [
            trajectory.Path(
                kind=self.path,
                keyframes=self._keyframes(cell),
                frames=self.frames,
                closed=self.closed,
                hold=self.hold,
                ease=self.ease,
                truncation=scales,
                labels=self.labels or (),
                classes=classes,
            )
            for cell in range(cells)
        ]

    def timed(self, generator: Synthesize, drive: Drive | None) -> tuple[LatentPath, Synthesize]:
        """The path, paced and driven, and the generator that makes its frames."""
        paths = self.paced(generator, drive)
        if not (self.grid or self.labels):
            return paths[0], generator
        columns, rows = self.grid or (1, 1)
        return mosaic.Walks(paths), mosaic.Mosaic(generator, columns=columns, rows=rows)

    def paced(self, generator: Synthesize, drive: Drive | None) -> list[trajectory.Path]:
        """The paths, one per cell, at the speed asked for."""
        paths = self.paths(getattr(generator, "classes", 0))
        if drive:
            way = drive.timing(paths[0].steps)
            paths = [replace(path, timings=(way,), gain=drive.gain) for path in paths]
        if self.constant_speed:
            for cell, path in enumerate(paths):
                paths[cell], before, after = pacing.constant_speed(path, generator)
                logger.info(f"change per frame: {before}; at constant speed: {after}")
        return paths

    def _keyframes(self, cell: int) -> trajectory.Keyframes:
        given = self.keyframes if isinstance(self.keyframes, list) else None
        seeded = trajectory.seeded(
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
            raise UsageError("--grid: each cell walks from a seed of its own: give --seed alone.")
        rows = [_latent(entry, self.z_dim) for entry in given]
        return replace(seeded, given=np.stack(rows))


def save(recipe: Recipe, target: Path) -> None:
    """Write it with every key and every keyframe spelled out, a sound as seen from the file."""
    if recipe.audio and not Path(recipe.audio).is_absolute():
        sound, folder = Path(recipe.audio).resolve(), target.parent.resolve()
        if sound.drive == folder.drive:
            sound = Path(os.path.relpath(sound, folder))
        recipe = replace(recipe, audio=sound.as_posix())
    write_bytes(target, json.dumps(asdict(recipe.spelled_out())).encode() + b"\n")


def load(source: Path) -> Recipe:
    """Read a recipe. Raises ConfigError for what is no recipe, or has a key or value it cannot."""
    try:
        content = json.loads(source.read_text(), parse_int=_number)
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or f"no JSON, line {getattr(error, 'lineno', 1)}"
        raise ConfigError(f"{source}: cannot be read as a recipe ({reason}).") from error
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise ConfigError(f'{source}: not a recipe of vidgan; its "format" is not {FORMAT}.')
    hints = get_type_hints(Recipe)
    for key, value in content.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, 1, 0)[0]
            raise ConfigError(f"{source}: unknown key {key}; did you mean {near}?")
        numbers = isinstance(value, list) and key != "keyframes"
        wrong = isinstance(value, bool) and hints[key] is not bool
        kinds = (int, float) if key == "truncation" else (int,)
        wrong |= numbers and not all(type(number) in kinds for number in value)
        if wrong or not isinstance(value, hints[key]):
            raise ConfigError(f"{source}: {key} = {json.dumps(value)[:60]} is of a wrong kind.")
    if "z_dim" not in content:
        raise ConfigError(f"{source}: z_dim is missing.")
    if content.get("audio"):
        content["audio"] = str(source.parent / content["audio"])
    return Recipe(**content)


def _number(digits: str) -> int | float:
    """NumPy takes no whole numbers longer than the longest that is of use here, a seed."""
    return int(digits) if len(digits) <= 20 else float(digits)


def _of_seed(seed: int, count: int) -> list[dict[str, int]]:
    return [{"seed": seed, "index": index} for index in range(count)]


def _latent(entry: object, z_dim: int) -> np.ndarray:
    match entry:
        case {"seed": int(seed), "index": int(index)} if len(entry) == 2 and 0 <= index < 2**32:
            return seeds.gaussian(seed, np.array([index]), z_dim=z_dim)[0]
        case {"latent": list(latent)} if len(entry) == 1:
            if len(latent) != z_dim:
                raise ConfigError(f"keyframes of {len(latent)} numbers; this model takes {z_dim}.")
            if all(type(number) in (int, float) for number in latent):
                return np.array(latent, np.float32)
    raise ConfigError(
        f'keyframe {json.dumps(entry)[:60]}: {{"seed": 7, "index": 0}} or {{"latent": [...]}}.'
    )
