"""The verbs that train a generator and measure how good it is: train, evaluate."""

import re
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vidgan import config
from vidgan.cli import terminal
from vidgan.cli.live import beside
from vidgan.cli.terminal import Whole
from vidgan.disk import places
from vidgan.errors import ConfigError, UsageError
from vidgan.generator.runs import named_run
from vidgan.training import log

# Options that are not called as the key that they set.
_OPTIONS = {"width": "size", "height": "size", "name": "model", "images": "for"}


def train(
    source: str | None = None,
    *more: Annotated[str, Parameter(show=False)],  # what `train *.jpg` becomes
    recipe: Path | None = None,
    resume: Path | None = None,
    for_: Annotated[str | None, Parameter(name="--for", allow_leading_hyphen=True)] = None,
    size: str | None = None,
    model: str | None = None,
    batch_size: Whole | None = None,
    channels: Whole | None = None,
    flip: Annotated[bool | None, Parameter(negative="--no-flip")] = None,
    alpha: bool = False,
    motion: bool = False,
    seed: Whole | None = None,
    start: str | None = None,
    precision: str | None = None,
    device: str = "auto",
    every: Whole | None = None,
    stop: Annotated[bool | None, Parameter(negative="--no-stop")] = None,
    allow_data_change: bool = False,
    runs: Path = Path("runs"),
    live: bool = False,
) -> None:
    """Train a generator on pictures or video.

    Without options, it trains on footage of the Earth that comes with vidgan. Ctrl-C stops it;
    --resume continues.

    Args:
        source: What to learn from: a folder of pictures, a zip file, a video, a folder of videos,
            torchvision:NAME (for example torchvision:cifar10), or earth, emoji or digits.
        recipe: A TOML file with settings, for example mine.toml, or the name of one that comes with
            vidgan, for example tiny. Other options win over it.
        resume: Continue the run in this folder, for example runs/00000-earth-dcgan64, with the
            settings that it was made with. It ends as if it had never stopped.
        for_: How long to train: a time (90s, 10m, 2h), or a number of pictures to show (50000,
            200k, 2M). With --resume: this much longer, or until so many were shown in all.
        size: Pixels of the pictures: 64 for squares, or width x height, for example 128x72. Each
            side is a multiple of 8 from 32 to 256. A ratio, by default that of the data, takes the
            sides of about 64 pixels that are nearest to it: 16:9 (128x72), 9:16 (72x128), 4:5
            (64x80), 1:1 (64x64).
        model: Architecture of the networks: dcgan (the default), or r3gan (slower; see
            train/README.md).
        batch_size: Pictures per training step, on all devices together. By default 32 on a CPU and
            64 on a GPU.
        channels: Width of the networks; fewer train faster. By default 32 on a CPU and 64 on a GPU.
        flip: Also learn from mirror images. Good for faces and landscapes, wrong for writing.
        alpha: Learn transparency too, of cut-out pictures; render out.mov or out.webp then keeps
            it. Without this option, what is behind transparent pixels is white.
        motion: For a film: frames that are near in it get near latents, so that vidgan motion finds
            room for how things move.
        seed: A number that decides everything random. The same seed gives the same run.
        start: Begin with the networks of another run instead of random ones: its folder, its
            generator.safetensors, or one of its checkpoints.
        precision: Arithmetic: auto (bf16 where the device is fast in it, else fp32), fp32, bf16
            or fp16 (CUDA only).
        device: Where to train: auto (a CUDA GPU if there is one, else the CPU), cpu, cuda, or mps,
            the GPU of a Mac, which is untried.
        every: Of a video, use only every n-th frame, for example 5.
        stop: Stop when the generator gets worse: three distances in a row above 1.5 times the best.
            In any case the best generator is kept.
        allow_data_change: With --resume: go on though pictures were added, removed or changed.
        runs: The folder in which this run gets a folder of its own.
        live: Show the run on a page while it trains, with knobs to turn; see vidgan live.
    """
    _check_one(source, more)
    resume = resume and named_run(resume)
    base = _base(recipe, resume)
    width, height = _size(size) if size else (None, None)
    for option, value in (("--batch-size", batch_size), ("--channels", channels)):
        if value == 0:  # which in a recipe means "auto"
            raise UsageError(f"{option} 0: leave it out for the default, or give a number.")
    asked = _override(base, "data", source=source, every=every, alpha=alpha or None)
    asked = _override(asked, "model", name=model, width=width, height=height, channels=channels)
    how = {"batch_size": batch_size, "flip": flip, "motion": motion or None, "seed": seed}
    how |= {"start": start, "precision": precision}
    asked = _override(asked, "train", **how)
    if allow_data_change and not resume:
        raise UsageError("--allow-data-change: only with --resume; a new run takes any data.")
    if resume:
        _check_kept(base, asked)
    images, duration_s = _amount(for_) if for_ else (None, None)
    more_s = (duration_s or 0.0) if resume else 0.0
    if resume and for_:
        duration_s = 0.0  # of the run, when it was started
    goal = {"images": images, "duration_s": duration_s, "stop_past_best": stop}
    asked = _override(asked, "train", **goal)
    from vidgan.training import loop as training

    with terminal.training_bar() as bar, beside(bar) if live else nullcontext():
        run = training.train(
            asked,
            runs=runs,
            resume=resume,
            more_s=more_s,
            any_data=allow_data_change,
            device=device,
            show=bar,
        )
    if terminal.is_first_process():
        terminal.to_stdout(f"{run}/generator.safetensors")


def evaluate(
    made: Path | None = None,
    against: str | None = None,
    *,
    count: Whole = 1000,
    metrics: str = "",
    inception: Path | None = None,
    seed: Whole = 0,
    device: str = "auto",
) -> None:
    """Measure how far generated pictures are from the pictures that they should look like.

    Args:
        made: What to judge: generator.safetensors, generator.onnx, the folder of a run, RUN@50k
            (as it was at 50,000 images), earth, or pictures. By default the generator of the newest
            run in runs/, or else the one that comes with vidgan, called earth.
        against: The real pictures, given as to vidgan train. By default what the generator was
            trained on.
        count: Compare this many pictures of each kind, or half of the real ones if these are fewer.
            Only figures of equal count are comparable.
        metrics: More metrics, computed by torch-fidelity: a list such as fid,kid,is,pr,ppl,lpips.
            The networks that they need are not downloaded.
        inception: The file of the Inception network for fid, kid and is, if it is not in torch's
            cache.
        seed: The number that decides which pictures the generator makes.
        device: Where the generator runs: auto, cpu, cuda or mps.
    """
    from vidgan.quality import evaluate as evaluating

    names = [name for name in metrics.lower().split(",") if name]
    lines = evaluating.evaluate(
        made, against, count=count, seed=seed, metrics=names, inception=inception, device=device
    )
    terminal.to_stdout(*lines)
    terminal.to_stderr(*evaluating.MEANING.splitlines())


def _check_one(source: str | None, more: tuple[str, ...]) -> None:
    if more:
        raise UsageError(
            f"{source} and {', '.join(more)[:60]}: only one source; for several files give the "
            "folder that they lie in."
        )


def _base(recipe: Path | None, resume: Path | None) -> config.Config:
    """The settings before options: of a recipe, of the run to resume, or the defaults."""
    if recipe and resume:
        raise UsageError("--recipe and --resume: a resumed run keeps its own settings.")
    if resume:
        if not (resume / "config.toml").is_file():
            raise UsageError(f"--resume {resume}: not a run; runs are the folders in runs/.")
        return log.continued(resume, config.load(resume / "config.toml"))
    if recipe is None:
        return config.Config()
    if recipe.exists() or recipe.suffix:
        return config.load(recipe)
    shipped = {path.stem: path for path in places.bundled("train").glob("*.toml")}
    if str(recipe) not in shipped:
        raise UsageError(
            f"--recipe {recipe}: no such recipe; vidgan ships {', '.join(sorted(shipped))}. "
            "Give the path of a recipe of your own, for example ./mine.toml."
        )
    return config.load(shipped[str(recipe)])


def _check_kept(run: config.Config, asked: config.Config) -> None:
    """Raise UsageError for an option that would change a resumed run."""
    for table in ("data", "model", "train"):
        kept, wanted = asdict(getattr(run, table)), asdict(getattr(asked, table))
        for key in kept:
            if wanted[key] != kept[key]:
                option = f"--{_OPTIONS.get(key, key).replace('_', '-')}"
                was, what = (str(settings[key]) for settings in (kept, wanted))
                if option == "--size":
                    was, what = ("{width}x{height}".format(**s) for s in (kept, wanted))
                named = what if key == "source" else f"{option} {what}"
                switch = {"--flip True": "--flip", "--flip False": "--no-flip"}
                switch |= {"--alpha True": "--alpha", "--alpha False": "without --alpha"}
                switch |= {"--motion True": "--motion", "--motion False": "without --motion"}
                named, was = switch.get(named, named), switch.get(f"{option} {was}", was)
                kept_text = f"a resumed run keeps its own ({was})"
                raise UsageError(f"{named}: {kept_text}. Leave it out, or start a new run.")


def _amount(text: str) -> tuple[int | None, float | None]:
    """'200k' -> (200_000, None) in images; '10m' -> (None, 600.0) in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|k|M)?", text.strip())
    number, unit = (float(match[1]), match[2] or "") if match else (0.0, "")
    if number and number < 1000 and not unit:
        known = f"seconds ({text}s), minutes ({text}m), or thousands of images ({text}k)"
        raise UsageError(f"--for {text}: {text} what? Say {known}.")
    if number == 0:
        raise UsageError(f"--for {text}: a time such as 90s, 10m, 2h, or images: 200k, 2M, 50000.")
    if unit in ("s", "m", "h"):
        return None, number * {"s": 1, "m": 60, "h": 3600}[unit]
    return int(number * {"": 1, "k": 1000, "M": 1_000_000}[unit]), None


def _size(text: str) -> tuple[int, int]:
    if ":" in text:
        return _of_ratio(text)
    sides = (int(text),) * 2 if text.isdigit() else terminal.pair("--size", text, example="128x72")
    if not all(sides):  # which in a recipe means "auto"
        raise UsageError(f"--size {text}: no side can be 0; give for example 64, or 128x72.")
    return sides


def _of_ratio(text: str) -> tuple[int, int]:
    """'16:9' -> (128, 72)."""
    from vidgan.data.pictures import sides_for

    match = re.fullmatch(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)", text)
    wide, high = map(float, match.groups()) if match else (0, 0)
    if not (high and 1 / 4 <= wide / high <= 4):
        raise UsageError(f"--size {text}: a ratio from 1:4 to 4:1, for example 16:9.")
    width, height = sides_for(wide / high)
    if terminal.is_first_process():
        terminal.to_stderr(f"--size {text}: trains on {width}x{height} pixels.")
    return width, height


def _override(base: config.Config, table: str, **options: object) -> config.Config:
    """Set options in a table. An error names the option that was typed, not the key it sets."""
    given = {key: value for key, value in options.items() if value is not None}
    try:
        return replace(base, **{table: replace(getattr(base, table), **given)})
    except ConfigError as error:
        key, _, rest = str(error).removeprefix(f"{table}.").partition(" = ")
        raise UsageError(f"--{_OPTIONS.get(key, key).replace('_', '-')} {rest}") from error
