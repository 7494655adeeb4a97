"""The command: verbs, options, and errors made into one line and an exit code.

Heavy modules are imported inside the verb that needs them, so that --help answers at once and
rendering an ONNX file never loads torch. Progress goes to stderr, results to stdout.
"""

import re
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from vidgan import __version__
from vidgan.errors import (
    EXIT_INTERRUPTED,
    ConfigError,
    ModelError,
    UsageError,
    VidganError,
)

app = App(
    name="vidgan",
    version=__version__,
    help="Train an image GAN on pictures or film, turn it into video, ship it as ONNX.",
)


def main() -> None:
    """Entry point of the command `vidgan` and of `python -m vidgan`."""
    try:
        app(exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _leave(" ".join(str(error).split()), 2)
    except VidganError as error:
        _leave(str(error), error.exit_code)
    except KeyboardInterrupt:
        _leave("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()


@app.command
def train(
    source: str | None = None,
    *,
    recipe: Path | None = None,
    resume: Path | None = None,
    for_: Annotated[str | None, Parameter(name="--for")] = None,
    size: str | None = None,
    model: str | None = None,
    batch_size: int | None = None,
    channels: int | None = None,
    flip: bool | None = None,
    seed: int | None = None,
    precision: str | None = None,
    every: int | None = None,
    runs: Path = Path("runs"),
) -> None:
    """Train a generator. With no option: on the embedded footage of the Earth.

    Parameters
    ----------
    source
        Folder of pictures, zip, video, folder of videos, torchvision:NAME, or earth.
    recipe
        A TOML file that lists what differs from the defaults; options given here win over it.
    resume
        A run folder to go on with, bitwise as if it had never stopped.
    for_
        How long: 10m, 2h, 90s, or images: 200k, 2M, 50000.
    size
        Pixels of the pictures: 64, or 128x72 (width x height); multiples of 8 from 32 to 256.
    model
        Architecture: dcgan.
    batch_size
        Pictures per step, over all devices together.
    channels
        Width of the networks; less is faster.
    flip
        Mirror half of the pictures.
    seed
        Of weights, data order and latents.
    precision
        auto, fp32, bf16 or fp16.
    every
        Of a film: keep every n-th frame.
    runs
        Where run folders are made.
    """
    from vidgan import config

    base = _base(recipe, resume)
    width, height = _size(size) if size else (None, None)
    images, duration_s = _amount(for_) if for_ else (None, None)
    base = config.override(base, "data", source=source, every=every)
    base = config.override(base, "model", name=model, width=width, height=height, channels=channels)
    base = config.override(
        base,
        "train",
        batch_size=batch_size,
        flip=flip,
        seed=seed,
        precision=precision,
        images=images,
        duration_s=duration_s,
    )
    from vidgan import train as training

    with _TrainingBar(base) as bar:
        run = training.train(base, runs=runs, resume=resume, notice=bar.say, progress=bar.show)
    print(f"{run}/generator.safetensors")


@app.command
def render(
    target: Path,
    *,
    frames: int = 120,
    model: Path | None = None,
    seed: int = 0,
    fps: str = "30",
    loop: bool = True,
    keyframes: int | None = None,
    truncation: float = 1.0,
    scale: int | None = None,
    force: bool = False,
) -> None:
    """Render a video: a smooth walk through the generator's latent space.

    Parameters
    ----------
    target
        out.mp4, out.gif, out.webp, or a folder for PNG frames.
    frames
        Exactly this many.
    model
        generator.safetensors or generator.onnx; else the newest run, else the shipped one.
    seed
        Which walk.
    fps
        Frames per second: 30, 23.976 or 24000/1001.
    loop
        Close the walk, so that the video repeats without a jump.
    keyframes
        Latents the walk passes through; by default one per 30 frames.
    truncation
        Below 1: safer pictures, less variety.
    scale
        Enlarge by a whole factor; by default small frames grow to 512 pixels.
    force
        Overwrite the target.
    """
    from vidgan import video

    video.check_target(target, force=force)
    rate = video.check_fps(fps)
    if frames < 1:
        raise UsageError(f"--frames {frames}: at least 1, for example --frames 120.")
    from vidgan import render as rendering
    from vidgan import trajectory

    generator, name = _generator(model)
    path = trajectory.loop(
        seed=seed,
        frames=frames,
        z_dim=generator.z_dim,
        keyframes=keyframes,
        closed=loop,
        truncation=truncation,
    )
    comment = {"model": generator.sha256, "seed": seed, "path": "loop" if loop else "open"}
    writer = video.VideoWriter(
        target, fps=rate, scale=scale, force=force, comment=comment, notice=_say
    )
    with _bar("rendering", frames) as advance:
        rendering.render(generator, path, writer, progress=advance)
    print(f"{target}: {frames} frames of {name}, {generator.runs_on}")


@app.command
def sample(
    target: Path,
    *,
    grid: str | None = None,
    count: int | None = None,
    model: Path | None = None,
    seed: int = 0,
    force: bool = False,
) -> None:
    """Write stills: --grid 8x4 grid.png, or --count 1000 folder/.

    Parameters
    ----------
    target
        A PNG file for --grid, a folder for --count.
    grid
        Columns x rows of samples in one picture; 8x4 if neither is given.
    count
        This many single PNG files instead.
    model
        generator.safetensors or generator.onnx; else the newest run, else the shipped one.
    seed
        Which samples.
    force
        Overwrite the target.
    """
    from vidgan import render as rendering
    from vidgan import video

    if grid and count is not None:
        raise UsageError("--grid and --count: one of the two.")
    if count is None:
        columns, rows = _pair("--grid", grid or "8x4")
        if target.suffix.lower() != ".png":
            raise UsageError(f"{target}: a grid is a .png file.")
        if target.exists() and not force:
            raise UsageError(f"{target} exists; add --force to overwrite it.")
        generator, _ = _generator(model)
        picture = rendering.grid(generator, seed=seed, columns=columns, rows=rows)
        video.write_png(target, picture, {"model": generator.sha256, "seed": seed})
    else:
        video.check_target(f"{target}/", force=force)
        generator, _ = _generator(model)
        rendering.samples(generator, target, seed=seed, count=count, force=force)
    print(target)


@app.command
def export(target: Path, *, model: Path | None = None, force: bool = False) -> None:
    """Write the generator as one ONNX file, proved against torch before it appears.

    Parameters
    ----------
    target
        generator.onnx
    model
        generator.safetensors; else the newest run's, else the shipped one.
    force
        Overwrite the target.
    """
    if target.suffix != ".onnx":
        raise UsageError(f"{target}: the file's name must end in .onnx.")
    if target.exists() and not force:
        raise UsageError(f"{target} exists; add --force to overwrite it.")
    source, name = _model_file(model)
    if source.suffix != ".safetensors":
        raise ModelError(f"{source}: export reads generator.safetensors.")
    from vidgan import export as exporting

    proof = exporting.export(source, target)
    print(
        f"{target}: {name}, {proof.size_bytes / 1e6:.1f} MB; proved on {proof.frames} frames: "
        f"at most {proof.max_level} grey level, {proof.differing:.4%} of bytes differ"
    )


@app.command
def doctor() -> None:
    """Print what was found on this machine, and what to do about what is wrong."""
    from vidgan import doctor as examination

    print(examination.report())


def _base(recipe: Path | None, resume: Path | None) -> object:
    from vidgan import bundled, config

    if recipe and resume:
        raise UsageError("--recipe and --resume: a resumed run keeps its own settings.")
    if resume:
        return config.load(resume / "config.toml")
    if recipe is None:
        return config.Config()
    named = bundled.bundled("train") / f"{recipe}.toml"
    if not recipe.exists() and named.exists():  # --recipe tiny
        return config.load(named)
    return config.load(recipe)


def _generator(model: Path | None) -> tuple[object, str]:
    from vidgan.synthesis import open_generator

    path, name = _model_file(model)
    return open_generator(path), name


def _model_file(model: Path | None) -> tuple[Path, str]:
    """The file, and how to call it: the one asked for, the newest run's, or the shipped one."""
    from vidgan import bundled

    if model:
        return model, str(model)
    found = list(Path("runs").glob("*/generator.safetensors"))
    if found:
        newest = max(found, key=lambda path: path.stat().st_mtime_ns)
        return newest, str(newest)
    return bundled.bundled("assets/generator.safetensors"), "the shipped generator"


def _amount(text: str) -> tuple[int | None, float | None]:
    """'10m' -> seconds; '200k' -> images."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|k|M)?", text.strip())
    if not match or float(match[1]) == 0:
        raise UsageError(f"--for {text}: a time such as 90s, 10m, 2h, or images: 200k, 2M, 50000.")
    number, unit = float(match[1]), match[2] or ""
    if unit in ("s", "m", "h"):
        return None, number * {"s": 1, "m": 60, "h": 3600}[unit]
    return int(number * {"": 1, "k": 1000, "M": 1_000_000}[unit]), None


def _size(text: str) -> tuple[int, int]:
    if text.isdigit():
        return int(text), int(text)
    return _pair("--size", text)


def _pair(option: str, text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if not match:
        error = ConfigError if option == "--size" else UsageError
        raise error(f"{option} {text}: two whole numbers, for example 8x4.")
    return int(match[1]), int(match[2])


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _leave(line: str, code: int) -> None:
    print(f"vidgan: {line}", file=sys.stderr)
    sys.exit(code)


class _bar:
    """A bar on a terminal, nothing elsewhere; calling it sets how many are done."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total = title, total

    def __enter__(self):
        if not sys.stderr.isatty():
            return lambda done: None
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._bar.start()
        task = self._bar.add_task(self._title, total=self._total)
        return lambda done: self._bar.update(task, completed=done)

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_bar"):
            self._bar.stop()


class _TrainingBar:
    """images/s, time left, both losses and how sure D is; a plain line each 10 s elsewhere."""

    def __init__(self, settings: object) -> None:
        self._total = settings.train.images
        self._duration_s = settings.train.duration_s
        self._last_s = -10.0
        self._bar = None

    def __enter__(self):
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                BarColumn(bar_width=20),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task("starting", total=1.0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def say(self, line: str) -> None:
        if self._bar:
            self._bar.console.print(line, highlight=False)
        else:
            _say(line)

    def show(self, now: object) -> None:
        done = max(
            now.images_seen / self._total,
            now.elapsed_s / self._duration_s if self._duration_s else 0.0,
        )
        line = (
            f"{now.images_seen:,} images, {now.images_per_s:.0f}/s, G {now.loss_g:.2f}, "
            f"D {now.loss_d:.2f}, D sure {now.sure_real:.0%} real, {1 - now.sure_fake:.0%} fake"
        )
        if self._bar:
            self._bar.update(self._task, completed=min(done, 1.0), description=line)
        elif now.elapsed_s - self._last_s >= 10 or done >= 1:
            self._last_s = now.elapsed_s
            _say(f"{min(done, 1):.0%} {line}")
