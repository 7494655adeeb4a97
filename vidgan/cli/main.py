"""The command: verbs, options, and errors made into one line and an exit code.

Heavy modules are imported inside the verb that needs them, so that --help answers at once and
rendering an ONNX file never loads torch. Progress goes to stderr, results to stdout.
"""

import gc
import re
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from vidgan import __version__
from vidgan.cli import export, render, terminal
from vidgan.cli.terminal import Whole
from vidgan.errors import EXIT_INTERRUPTED, ConfigError, UsageError, VidganError

app = App(
    name="vidgan",
    version=__version__,
    help="Train an image GAN on pictures or film, turn it into video, ship it as ONNX.",
    suppress_keyboard_interrupt=False,  # main() says so, in one line
    default_parameter=Parameter(negative=()),
)

app.command(render.render)
app.command(render.sample)
app.command(export.export)
app.command(export.preview)
app.command(export.verify)
app.command(export.import_, name="import")


def main() -> None:
    """Entry point of the command `vidgan` and of `python -m vidgan`."""
    try:
        with terminal.messages():
            app(exit_on_error=False, print_error=False)
    except CycloptsError as error:
        verb = " ".join(["vidgan", *(error.command_chain or ())])
        _leave(f"{' '.join(str(error).split())} See {verb} --help.", 2)
    except VidganError as error:
        _leave(str(error), error.exit_code)
    except KeyboardInterrupt:
        _leave("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
    finally:
        gc.freeze()  # or the end would look for garbage in all that was imported


@app.command
def train(
    source: str | None = None,
    *,
    recipe: Path | None = None,
    resume: Path | None = None,
    for_: Annotated[str | None, Parameter(name="--for", allow_leading_hyphen=True)] = None,
    size: str | None = None,
    model: str | None = None,
    batch_size: Whole | None = None,
    channels: Whole | None = None,
    flip: Annotated[bool | None, Parameter(negative="--no-flip")] = None,
    seed: Whole | None = None,
    precision: str | None = None,
    every: Whole | None = None,
    stop: Annotated[bool | None, Parameter(negative="--no-stop")] = None,
    runs: Path = Path("runs"),
) -> None:
    """Train a generator. With no option: on the embedded footage of the Earth.

    Parameters
    ----------
    source
        Folder of pictures, zip, video, folder of videos, torchvision:NAME, earth, emoji or digits.
    recipe
        A TOML file that lists what differs from the defaults; options given here win over it.
    resume
        A run folder to go on with, bitwise as if it had never stopped.
    for_
        How long: 10m, 2h, 90s, or images: 200k, 2M, 50000.
    size
        Pixels of the pictures: 64, or 128x72 (width x height); multiples of 8 from 32 to 256.
    model
        Architecture: dcgan, or r3gan (RpGAN without norms: slower; see train/README.md).
    batch_size
        Pictures per step, over all devices together; 0, the default: 32 on a CPU, else 64.
    channels
        Width of the networks; less is faster; 0, the default: 32 on a CPU, else 64.
    flip
        Mirror half of the pictures.
    seed
        Of weights, data order and latents.
    precision
        auto, fp32, bf16 or fp16.
    every
        Of a film: keep every n-th frame.
    stop
        --no-stop goes on past the best: three distances in a row above 1.5 times the best.
    runs
        Where run folders are made.
    """
    base = _base(recipe, resume)
    width, height = _size(size) if size else (None, None)
    images, duration_s = _amount(for_) if for_ else (None, None)
    base = _override(base, "data", source=source, every=every)
    base = _override(base, "model", name=model, width=width, height=height, channels=channels)
    base = _override(
        base,
        "train",
        batch_size=batch_size,
        flip=flip,
        seed=seed,
        precision=precision,
        images=images,
        duration_s=duration_s,
        stop_past_best=stop,
    )
    from vidgan.training import loop as training

    length = base.train
    with terminal.training_bar(images=length.images, duration_s=length.duration_s) as show:
        run = training.train(base, runs=runs, resume=resume, progress=show)
    print(f"{run}/generator.safetensors")


@app.command
def evaluate(
    made: Path | None = None,
    against: str | None = None,
    *,
    count: Whole = 1000,
    metrics: str = "",
    inception: Path | None = None,
    seed: Whole = 0,
) -> None:
    """Print how far a generator, or any pictures, are from the pictures they should look like.

    Parameters
    ----------
    made
        generator.safetensors or .onnx; else the newest run's, else the shipped one. Or pictures.
    against
        Pictures, as vidgan train takes them; else what the run trained on.
    count
        Of each; compare numbers at equal count only. Fewer where there are not twice as many reals.
    metrics
        Also, by torch-fidelity: fid,kid,is,pr,ppl,lpips. Its weights are not downloaded.
    inception
        The weights of fid, kid and is, where they are not in torch's cache.
    seed
        Of the latents.
    """
    from vidgan.quality import evaluate as evaluating

    lines = evaluating.evaluate(
        made,
        against,
        count=count,
        seed=seed,
        metrics=[name for name in metrics.lower().split(",") if name],
        inception=inception,
    )
    print("\n".join(lines))


@app.command
def doctor() -> None:
    """Print what was found on this machine, and what to do about what is wrong."""
    from vidgan.cli import doctor as examination

    print(examination.report())


def _base(recipe: Path | None, resume: Path | None) -> object:
    from vidgan import config
    from vidgan.disk import places

    if recipe and resume:
        raise UsageError("--recipe and --resume: a resumed run keeps its own settings.")
    if resume:
        if not (resume / "config.toml").is_file():
            raise UsageError(f"--resume {resume}: not a run; those that trained are under runs/.")
        return config.load(resume / "config.toml")
    if recipe is None:
        return config.Config()
    shipped = {path.stem: path for path in places.bundled("train").glob("*.toml")}
    if not recipe.exists() and not recipe.suffix:  # --recipe tiny
        if str(recipe) not in shipped:
            raise UsageError(
                f"--recipe {recipe}: no such recipe; vidgan ships {', '.join(sorted(shipped))}, "
                "and a file of your own is called by its path, such as ./mine.toml."
            )
        return config.load(shipped[str(recipe)])
    return config.load(recipe)


def _amount(text: str) -> tuple[int | None, float | None]:
    """'10m' -> seconds; '200k' -> images."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|k|M)?", text.strip())
    number, unit = (float(match[1]), match[2] or "") if match else (0.0, "")
    if number == 0 or (number < 1000 and not unit):  # is a bare 20 minutes, or seconds?
        raise UsageError(f"--for {text}: a time such as 90s, 10m, 2h, or images: 200k, 2M, 50000.")
    if unit in ("s", "m", "h"):
        return None, number * {"s": 1, "m": 60, "h": 3600}[unit]
    return int(number * {"": 1, "k": 1000, "M": 1_000_000}[unit]), None


def _size(text: str) -> tuple[int, int]:
    sides = (int(text),) * 2 if text.isdigit() else terminal.pair("--size", text, example="128x72")
    if not all(sides):  # which in a recipe means "auto"
        raise UsageError(f"--size {text}: no side can be 0, for example 64, or 128x72.")
    return sides


def _override(base: object, table: str, **options: object) -> object:
    """Names the option, not the recipe's key, where one cannot be."""
    from vidgan import config

    try:
        return config.override(base, table, **options)
    except ConfigError as error:
        names = {"width": "size", "height": "size", "name": "model", "images": "for"}
        key, _, rest = str(error).removeprefix(f"{table}.").partition(" = ")
        raise UsageError(f"--{names.get(key, key.replace('_', '-'))} {rest}") from error


def _leave(line: str, code: int) -> None:
    terminal.say(f"vidgan: {line}")
    sys.exit(code)
