"""The verbs that edit: from pictures to latents, and what single units of a generator draw."""

from pathlib import Path

from vidgan.cli import terminal
from vidgan.cli.terminal import Whole
from vidgan.disk.files import check_new
from vidgan.errors import UsageError


def invert(
    *pictures: Path,
    model: Path | None = None,
    label: str | None = None,
    steps: Whole | None = None,
    tune: Path | None = None,
    device: str = "auto",
    force: bool = False,
) -> None:
    """Find the latents of pictures: photo.jpg becomes photo.npy, for vidgan render --keyframes.

    It also writes photo-inverted.png (of several pictures inverted.png), which shows the picture,
    what an encoder makes of it, and what a refinement reached. All go into this folder. The encoder
    is trained once for each generator, which takes a minute or two, and kept beside it.

    Args:
        pictures: Pictures of any size. They are fitted as in training: cropped about the centre to
            the shape of the generator, then resized.
        model: generator.safetensors, or the folder of a run. By default the newest run in runs/,
            or else the generator that comes with vidgan, called earth.
        label: The class that they show, by number or name. By default the one that fits best.
        steps: Of the refinement. By default 300.
        tune: Also fit a copy of the generator to these pictures, and write it to this file, for
            example tuned.safetensors. The latents are then for that generator.
        device: Where the generator runs: auto, cpu, cuda or mps.
        force: Replace these files, if vidgan wrote them.
    """
    if not pictures:
        raise UsageError("invert: name a picture, for example vidgan invert photo.jpg.")
    if steps is not None and not 0 <= steps <= 100_000:
        raise UsageError(f"--steps {steps}: from 0, the encoder's answer, to 100,000.")
    latents = [Path(f"{picture.stem}.npy") for picture in pictures]
    if len(set(latents)) < len(latents):
        raise UsageError("invert: two pictures of one name; their files would have one name too.")
    picture = f"{pictures[0].stem}-inverted.png" if len(pictures) == 1 else "inverted.png"
    targets = [(Path(picture), ".png"), *((path, ".npy") for path in latents)]
    for path, suffix in targets + ([(tune, ".safetensors")] if tune else []):
        check_new(path, suffix=suffix, force=force)

    from vidgan.edit import invert as inversion
    from vidgan.edit.sheet import measured, sheet
    from vidgan.film.writer import write_png
    from vidgan.generator import runs
    from vidgan.latent.npy import write_latents

    source, name = runs.find_model(model)
    with terminal.working_bar("training the encoder") as progress:
        inverter = inversion.Inverter(source, device=device, progress=progress)
        originals = [inverter.read(one) for one in pictures]  # before the long work
        asked = inversion.STEPS if steps is None else steps
        found = [inverter(one, label=label, steps=asked) for one in originals]
    if tune:
        with terminal.working_bar("tuning the generator") as progress:
            found = inversion.tune(inverter, found, tune, progress)
    for one, path in zip(found, latents, strict=True):
        write_latents(path, one.latent[None], force=force)
    last = "tuned" if tune else "refined"
    said, names = measured(found), inverter.generator.class_names
    shown = sheet(found, [one.name for one in pictures], said, last)
    write_png(Path(picture), shown, {"model": inverter.generator.sha256}, force=force)
    for one, path, (encoded, refined) in zip(found, latents, said, strict=True):
        of = f", class {one.label} ({names[one.label]})" if names else ""
        terminal.to_stdout(f"{path}: encoder {encoded}; {last} {refined}{of}")
    terminal.to_stdout(f"{picture}: original, encoder, {last}, by {tune or name}")


def restore(
    picture: Path,
    target: Path,
    /,
    *,
    mask: Path | None = None,
    denoise: bool = False,
    upscale: Whole | None = None,
    deblur: bool = False,
    count: Whole = 1,
    model: Path | None = None,
    device: str = "auto",
    force: bool = False,
) -> None:
    """Repair a picture of the kind that the generator makes: say what the damage is.

    What can be seen in it stays; the rest is invented. A picture of another kind is refused. The
    encoder of vidgan invert is trained once for each generator, which takes a minute or two.

    Args:
        picture: It is fitted as in training: cropped about the centre to the shape of the
            generator, then resized. With --mask it stays as it is, outside of the hole.
        target: The new picture, for example fixed.png.
        mask: A picture of the same size: white where a hole is to be filled, black elsewhere.
        denoise: Remove noise.
        upscale: Make it larger: 4 expects a quarter of the generator's width and height.
        deblur: Make a picture sharp that is out of focus.
        count: Of different answers: fixed-1.png, fixed-2.png, ...
        model: generator.safetensors, or the folder of a run. By default the newest run in runs/,
            or else the generator that comes with vidgan, called earth.
        device: Where the generator runs: auto, cpu, cuda or mps.
        force: Replace these files, if vidgan wrote them.
    """
    if [mask is not None, denoise, upscale is not None, deblur].count(True) != 1:
        raise UsageError("restore: one of --mask mask.png, --denoise, --upscale 4 and --deblur.")
    if not 1 <= count <= 100:
        raise UsageError(f"--count {count}: from 1 to 100.")
    names = [f"{target.stem}-{number + 1}{target.suffix}" for number in range(count)]
    targets = [target.with_name(name) for name in names] if count > 1 else [target]
    for path in targets:
        check_new(path, suffix=".png", force=force)

    from vidgan.edit import restore as restoring
    from vidgan.edit.invert import Inverter
    from vidgan.film.writer import write_png
    from vidgan.generator import runs

    source, name = runs.find_model(model)
    with terminal.working_bar("training the encoder") as progress:
        inverter = Inverter(source, device=device, progress=progress)
        damages = restoring.opened(inverter.generator, picture, mask, upscale, deblur)
        answers = restoring.restore(inverter, damages, count)
    for path, answer in zip(targets, answers, strict=True):
        write_png(path, answer, {"model": inverter.generator.sha256}, force=force)
        terminal.to_stdout(f"{path}: by {name}")


def dissect(
    target: Path,
    /,
    *,
    model: Path | None = None,
    seed: Whole = 0,
    device: str = "auto",
    force: bool = False,
) -> None:
    """Show what single units of a generator's early layers draw: a page, report.html.

    For the units that matter most it shows the pictures that excite them most, a heat map over
    these, what vanishes when the unit is silenced, and what it follows. It takes about a minute.

    Args:
        target: The page, for example report.html. It is a single file and opens without a server.
        model: generator.safetensors, or the folder of a run. By default the newest run in runs/,
            or else the generator that comes with vidgan, called earth.
        seed: The number that decides the latents to choose pictures from.
        device: Where the generator runs: auto, cpu, cuda or mps.
        force: Replace the page, if vidgan wrote it.
    """
    check_new(target, suffix=".html", force=force)
    from vidgan.edit import dissect as dissection
    from vidgan.generator import runs, synthesis

    source, name = runs.find_model(model)
    generator = synthesis.open_differentiable(source, device=device)
    with terminal.working_bar() as advance:
        layers = dissection.dissect(generator, seed=seed, progress=advance)
    dissection.write_page(target, generator, layers, name, force=force)
    units = sum(len(layer.units) for layer in layers)
    size_mb = target.stat().st_size / 1e6
    terminal.to_stdout(
        f"{target}: {units} units of {name}, {size_mb:.1f} MB; open it in a browser."
    )
