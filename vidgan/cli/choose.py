"""The verbs to choose pictures by eye: sample, keep."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vidgan.cli import moves, terminal
from vidgan.cli.terminal import Whole
from vidgan.disk.files import check_new
from vidgan.errors import UsageError
from vidgan.latent.seeds import check_seed

if TYPE_CHECKING:
    import numpy as np

    from vidgan.generator.synthesis import Synthesize


def sample(
    target: Path,
    /,
    *,
    grid: str | None = None,
    count: Whole | None = None,
    labels: str | None = None,
    model: Path | None = None,
    seed: Whole = 0,
    seeds: str | None = None,
    keyframes: str | None = None,
    direction: str | None = None,
    numbers: bool = False,
    show: bool = False,
    device: str = "auto",
    force: bool = False,
) -> None:
    """Write pictures: with --grid 8x4 grid.png one file, with --count 100 stills/ a folder.

    Picture 17 is that of seed 17: vidgan render --seeds 17,3 passes through it.

    Of a model that has classes, each row of the grid shows one class, and each column one latent.

    Args:
        target: A PNG file for --grid, a folder for --count.
        grid: Columns x rows of pictures in one file. This is the default, with 8x4, or with a row
            for each class.
        count: Write this many files instead, of one class after the other.
        labels: The classes to show, by number or name: 3,7 or flags,maps. By default all.
        model: generator.safetensors, generator.onnx, the folder of a run (which may be training),
            or RUN@50k: as it was at 50,000 images. By default the newest run in runs/, or else the
            generator that comes with vidgan, called earth.
        seed: The number of the first picture. The others follow it.
        seeds: Only these pictures, side by side, for example 17,203.
        keyframes: Only favourites (see vidgan keep), seeds, photographs (see vidgan invert) and
            .npy files: coast,5,anna.jpg.
        direction: Move all latents along named directions (see vidgan directions), for example
            brighter=1.5, or brighter=-2..2 from the left column to the right one.
        numbers: Draw the number of each picture into the grid.
        show: Also show the grid in this terminal: sharp in kitty and Ghostty, in others of 24-bit
            colours as coarse blocks, where --grid 4x2 is about the most to make out.
        device: Where the generator runs: auto, cpu, cuda or mps.
        force: Replace the target, if vidgan wrote it.
    """
    from vidgan.film.writer import write_png
    from vidgan.generator import classes, runs, synthesis
    from vidgan.render import pipeline

    if [grid, count, seeds, keyframes].count(None) < 3:
        raise UsageError("--grid, --count, --seeds and --keyframes: one of these.")
    if (numbers or direction) and count is not None:
        raise UsageError("--numbers and --direction: for --grid; files of --count are plain.")
    if show and (count is not None or not sys.stdout.isatty()):
        raise UsageError("--show: for --grid, and only where stdout is a terminal.")
    size = terminal.pair("--grid", grid) if grid else None
    _check(target, count, force=force)
    source, _ = runs.find_model(model)
    along = moves.directions_of(direction, source) or []
    generator = synthesis.open_generator(source, device=device)
    names, which = generator.class_names, moves.labels_of(labels)
    shown = classes.numbers_of(which, names) if which else list(range(len(names)))
    picked = moves.picked(seeds, keyframes, source, device)  # photographs take minutes
    if count is not None:
        pipeline.write_stills(generator, target, seed=seed, count=count, labels=shown, force=force)
        terminal.to_stdout(str(target), *shown_classes("pictures in turn", shown, names))
        return
    # A latent has too many numbers for a comment.
    brief = [one if "seed" in one else "a latent" for one in picked]
    comment = {"model": generator.sha256} | ({"keyframes": brief} if picked else {"seed": seed})
    if picked:
        shown = shown[:1] if any("class" in one for one in picked) else shown  # of the others
        columns = len(picked) if len(shown) > 1 else min(8, len(picked))
        rows = -(-len(picked) // columns) * max(len(shown), 1)
    else:
        columns, rows = size or _usual_grid(len(shown))
        pipeline.check_grid(generator, columns, rows)
        picked = [{"seed": seed + i, "index": 0} for i in range(columns * rows)]
    picture, shown = sheet(generator, picked, shown, [columns, rows], numbers, along)
    comment |= {"directions": direction} if direction else {}
    comment |= {"labels": shown} if shown else {}
    write_png(target, picture, comment, force=force)
    if show:
        terminal.show(picture)
    terminal.to_stdout(str(target), *shown_classes("rows in turn", shown, names))


def _check(target: Path, count: int | None, *, force: bool) -> None:
    from vidgan.film.target import Target

    if count is None:
        if not target.suffix:
            raise UsageError(f"{target}: a folder takes --count, for example --count 100.")
        check_new(target, suffix=".png", force=force)
    elif target.suffix.lower() == ".png":
        raise UsageError(f"{target}: --count writes a folder of PNG; --grid writes one PNG.")
    else:
        Target.parse(f"{target}/").check(force=force)


def sheet(
    generator: "Synthesize",
    picked: list[dict],
    shown: list[int],
    size: list[int],
    numbers: bool,
    along: Sequence[dict] = (),
) -> "tuple[np.ndarray, list[int]]":
    """One picture of keyframes, and the classes in it.

    Each row shows one of the classes, over and over, so that a column shows a latent in all. A
    keyframe with a class of its own is shown in that one. `along` is as in a walk.
    """
    import numpy as np

    from vidgan.latent import directions, paths
    from vidgan.render import pipeline

    (columns, rows), z, labels, marks, turns = size, [], [], [], max(len(shown), 1)
    for row in range(rows):
        for keyframe in picked[row // turns * columns :][:columns]:
            entry = dict(keyframe)
            own = entry.pop("class", None)
            labels += [shown[row % turns] if own is None else own] if shown else []
            z.append(paths.latent_of(entry, generator.z_dim))
            marks.append(entry.get("seed", 0))
    marks = marks if numbers else []
    t = np.arange(len(z)) % columns / max(columns - 1, 1)
    z = paths.moved(np.stack(z), directions.sliders(list(along), generator.z_dim), t, False)
    picture = pipeline.grid_of_stills(
        generator, z.astype(np.float32), columns=columns, labels=labels, numbers=marks
    )
    return picture, list(dict.fromkeys(labels))


def keep(
    seed: str | None = None,
    name: str | None = None,
    /,
    *,
    label: str | None = None,
    model: Path | None = None,
    force: bool = False,
) -> None:
    """Keep a picture by name, for vidgan render --keyframes coast,flag. Alone, list what is kept.

    It is a line of favourites.json in the folder of the run, which may be edited.

    Args:
        seed: The number of the picture, as vidgan sample --numbers shows it.
        name: What to call it, for example coast.
        label: Its class, by number or name, if the generator has classes.
        model: Its generator, as for vidgan render. By default that of the newest run in runs/.
        force: Replace the favourite of that name.
    """
    from vidgan.generator import classes, favourites, runs, synthesis

    file, _ = runs.find_model(model)
    names = synthesis.class_names(file)
    if seed is not None:
        if name is None or not re.fullmatch("[0-9]{1,20}", seed):
            raise UsageError("keep: a number and then a name, for example vidgan keep 17 coast.")
        check_seed(int(seed))
        keyframe = {"seed": int(seed), "index": 0}
        if label is not None:
            keyframe["class"] = classes.numbers_of([label], names)[0]
        favourites.keep(file, name, keyframe, force=force)
    kept = favourites.favourites(file)
    for favourite, keyframe in kept.items():
        facts = [f"{key} {keyframe[key]}" for key in ("seed", "class") if key in keyframe]
        terminal.to_stdout(f"{favourite}: {', '.join(facts)}")
    if not kept:
        terminal.to_stdout(
            f"nothing is kept beside {file}; in a run, to keep: vidgan keep 17 coast"
        )


def shown_classes(how: str, numbers: list[int], names: Sequence[str]) -> list[str]:
    """A line that says which class is which and what is shown, if there are classes."""
    from vidgan.generator import classes

    if not names:
        return []
    return [f"classes: {classes.listed(names)}; {how}: {classes.listed(names, numbers)}"]


def _usual_grid(classes: int) -> tuple[int, int]:
    """Columns and rows: each class once, or more often to fill four rows; 32 classes at most."""
    once = min(classes, 32) or 4
    return 8, once * max(1, 4 // once)
