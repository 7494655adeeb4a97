"""The verb motion: how things move in a film, for vidgan render --path motion."""

from dataclasses import replace
from pathlib import Path

from vidgan.cli import terminal
from vidgan.cli.terminal import Whole
from vidgan.disk.files import check_new
from vidgan.errors import UsageError


def motion(
    film: Path | None = None,
    target: Path | None = None,
    /,
    *,
    model: Path | None = None,
    every: Whole = 1,
    device: str = "auto",
    force: bool = False,
) -> None:
    """Learn how things move in a film, for vidgan render --path motion.

    The frames become latents of the generator, as in vidgan invert, shot by shot, which takes some
    minutes. A latent then moves on as the film did where it was most like it, in place and in
    speed. Of a film of more than 960 frames, ten pieces are looked at.

    Args:
        film: By default the one that the generator learned from.
        target: The file to write, for example waves.motion.safetensors, for render --motion. By
            default it lies beside the generator, where render finds it.
        model: Its generator: generator.safetensors, or the folder of a run. By default that of the
            newest run in runs/, or else the one that comes with vidgan, called earth.
        every: Of the film, look at every n-th frame only. A motion that is too slow to see from
            frame to frame is learned better so.
        device: Where the generator runs: auto, cpu, cuda or mps.
        force: Replace the file, if vidgan wrote it.
    """
    if every < 1:
        raise UsageError(f"--every {every}: at least 1.")
    from vidgan.edit.invert import Inverter
    from vidgan.edit.learn_motion import learn, shots_of
    from vidgan.film.reader import fps_of
    from vidgan.generator import motion as motions
    from vidgan.generator import runs

    source, name = runs.find_model(model)
    film, file = film or _trained_on(source), target or motions.file_of(source)
    if not target:
        file.parent.mkdir(parents=True, exist_ok=True)
    check_new(file, suffix=".motion.safetensors", force=force)
    with terminal.working_bar("training the encoder") as progress:
        inverter = Inverter(source, device=device, progress=progress)
        size = (inverter.generator.width, inverter.generator.height)
        # Before the long work.
        shots = shots_of(film, size, every=every, notice=terminal.to_stderr)
        inverter.encoder  # noqa: B018  trained here, if there is none
    with terminal.working_bar("finding latents") as progress:
        found = learn(inverter, shots, fps_of(film) / every, progress=progress)
    learned = replace(found.motion, source=str(film.resolve()))
    motions.write(file, learned, inverter.generator.sha256, force=force)
    frames, count = sum(map(len, found.latents)), len(found.latents)
    shots = f"{count} shot{'s' * (count != 1)}"
    terminal.to_stdout(
        f"{file}: {frames} frames in {shots} of {film}, as {name} shows them",
        f"  its frames are met at {found.psnr:.1f} dB; {len(found.motion.basis)} components move",
        f"  next frames, held out, are missed by {found.error:.2f} of what standing still misses",
    )
    if found.error > 0.9:
        terminal.to_stderr("It hardly foresees this film; expect a drift more than its motion.")


def _trained_on(source: Path) -> Path:
    """The film that a generator learned from. Raises UsageError."""
    from vidgan.disk.places import bundled
    from vidgan.film.reader import VIDEO_SUFFIXES
    from vidgan.generator import runs

    data = runs.trained_on(source)
    if data and data.source == "earth":
        return bundled("assets/earth.mp4")
    if data and Path(data.source).suffix.lower() in VIDEO_SUFFIXES:
        return Path(data.source)
    raise UsageError(f"motion: {source} learned from no film; name one: vidgan motion film.mp4.")
