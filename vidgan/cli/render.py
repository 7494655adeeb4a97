"""The verbs that make pictures and films: render, sample.

Heavy modules are imported inside the verb, so that --help answers at once and rendering an ONNX
file never loads torch.
"""

import os
import re
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vidgan.cli import terminal
from vidgan.cli.terminal import Whole
from vidgan.disk.files import check_new
from vidgan.errors import UsageError


def render(
    target: Path,
    /,
    *,
    frames: Whole | None = None,
    model: Path | None = None,
    path: str | None = None,
    seed: Whole | None = None,
    seeds: str | None = None,
    keyframes: str | None = None,
    fps: str | None = None,
    loop: Annotated[bool | None, Parameter(negative="--no-loop")] = None,
    hold: float | None = None,
    ease: str | None = None,
    truncation: str | None = None,
    labels: str | None = None,
    grid: str | None = None,
    constant_speed: bool | None = None,
    audio: Path | None = None,
    recipe: Path | None = None,
    save_recipe: Path | None = None,
    scale: Whole | None = None,
    codec: str | None = None,
    quality: Whole | None = None,
    lossless: bool = False,
    force: bool = False,
    resume: bool = False,
    contact_sheet: bool = False,
    sign: Path | None = None,
    sign_key: Path | None = None,
    yes: bool = False,
) -> None:
    """Render a video: a smooth walk through the generator's latent space.

    Parameters
    ----------
    target
        out.mp4, .webm, .mov (ProRes), .mkv (FFV1), .gif, .apng, .webp, or a folder for PNG.
    frames
        Exactly this many; by default 120.
    model
        generator.safetensors or generator.onnx; else the newest run, else the shipped one.
    path
        loop (smooth, the default), lerp, slerp, spline (Catmull-Rom), circle, walk or noise.
    seed
        Which walk; by default 0.
    seeds
        Instead: the seeds of the latents to pass through, 3,17,99.
    keyframes
        How many latents to pass through, by default one per 30 frames; or a file of them, a .npy
        of [K, z_dim].
    fps
        Frames per second: 30 (the default), 23.976 or 24000/1001.
    loop
        Close the walk, so that the video repeats without a jump.
    hold
        Share of the time that stands still on keyframes, 0 to below 1.
    ease
        Between keyframes: linear, smoothstep or in-out.
    truncation
        Below 1: safer pictures, less variety. Several in turn: 0.5,1.
    labels
        Classes in turn, of a model that has them: 3,7,3.
    grid
        Columns x rows of walks in one video: 4x3. Cell c has seed + c.
    constant_speed
        Move the frames along the path until each changes as much as the next.
    audio
        A sound (wav, mp3, flac, ...) that drives speed and truncation; the video is as long.
    recipe
        Take all of this but the model from a file that --save-recipe wrote.
    save_recipe
        Write such a file beside the video.
    scale
        Enlarge by a whole factor; by default small frames grow to 512 pixels, exact ones do not.
    codec
        h264, h265, av1, vp9, prores or ffv1, where the target can hold it; or h264_nvenc,
        hevc_nvenc, av1_nvenc, which make way for software where they do not work.
    quality
        0 (smallest file) to 100 (best), on the scale of the codec; by default 80.
    lossless
        Every decoded pixel is the generator's: .mp4, .mov, .mkv, .webm, .webp, .apng, PNG.
    force
        Overwrite the target.
    resume
        Go on with a render that was killed, to the same frames; give the same command again.
    contact_sheet
        Also write out-sheet.png: 32 frames spread over the film.
    sign
        Sign the video (C2PA) with this certificate and its chain, in PEM. See vidgan verify.
    sign_key
        The certificate's private key, in PEM.
    yes
        Go on though the job is very large.
    """
    from vidgan.film import segments
    from vidgan.film import writer as video
    from vidgan.generator import synthesis
    from vidgan.marks import c2pa
    from vidgan.render import pipeline as rendering
    from vidgan.render import walk as recipes

    options = {
        "frames": frames,
        "path": path,
        "seed": seed,
        "keyframes": _keyframes(seeds, keyframes),
        "fps": fps,
        "closed": loop,
        "hold": hold,
        "ease": ease,
        "truncation": _in_turn("--truncation", truncation, float),
        "labels": _in_turn("--labels", labels, int),
        "grid": None if grid is None else list(terminal.pair("--grid", grid)),
        "constant_speed": constant_speed,
        "audio": audio and str(audio),
    }
    options = {key: value for key, value in options.items() if value is not None}
    if recipe and options:
        raise UsageError(f"--recipe {recipe}: says {', '.join(options)} itself; give one of both.")
    if audio and frames is not None:
        raise UsageError("--audio and --frames: the sound says how long the video is.")
    # As torchrun tells the processes that share a render.
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    segments.check(target, resume=resume, world=world)
    # After a kill between the end of a film and that of its segments, both are there.
    left = resume and segments.folder_of(target).exists()
    video.check_target(target, force=force or left, codec=codec, quality=quality, lossless=lossless)
    if (sign is None) != (sign_key is None):
        raise UsageError("--sign cert.pem and --sign-key key.pem: both, or neither.")
    signer = c2pa.signer(target, sign, sign_key) if sign else None
    sheet = target.with_name(f"{target.stem}-sheet.png")
    if save_recipe:
        check_new(save_recipe, suffix=".json", force=force or resume)
    if contact_sheet:
        check_new(sheet, suffix=".png", force=force or resume)

    asked = recipes.load(recipe) if recipe else recipes.Recipe(z_dim=0, **options)
    asked, drive = asked.heard(target)
    rendering.check_frames(asked.frames, yes=yes)
    rate = video.check_fps(asked.fps)
    generator, name = synthesis.open_default(model)
    asked = asked.made_for(generator, name)
    walk, generator = asked.timed(generator, drive)
    comment = asked.comment()

    def finish(film: Path) -> None:
        """What a film needs before it gets its name, so that a killed render gets it too."""
        if signer:
            signer(film)
        if contact_sheet:
            video.write_png(sheet, rendering.contact_sheet(generator, walk), comment)
        if save_recipe:
            recipes.save(asked, save_recipe)

    writer = video.VideoWriter(
        target,
        fps=rate,
        scale=scale,
        codec=codec,
        quality=quality,
        lossless=lossless,
        force=force or left,
        sound=asked.audio and Path(asked.audio),
        finish=finish,
        comment=comment,
    )
    with terminal.rendering_bar(asked.frames) as advance:
        rendering.render(
            generator,
            walk,
            writer,
            resume=resume,
            rank=rank,
            world=world,
            progress=advance,
        )
    if rank > 0:
        return
    plural = "s" * (asked.frames != 1)
    print(f"{target}: {asked.frames} frame{plural} of {name}, {generator.runs_on}")


def _keyframes(seeds: str | None, keyframes: str | None) -> list | int | None:
    """What a recipe holds: of --seeds 3,17,99, or --keyframes 5, or --keyframes latents.npy."""
    if seeds is not None and keyframes is not None:
        raise UsageError("--seeds and --keyframes: one of the two.")
    if seeds is not None:
        return [{"seed": seed, "index": 0} for seed in _in_turn("--seeds", seeds, int)]
    if keyframes is None or re.fullmatch(r"-?\d+", keyframes):
        return keyframes and int(keyframes)
    import numpy as np

    try:
        rows = np.lib.format.open_memmap(keyframes, mode="r")  # .npy alone, and no objects
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is neither"
        raise UsageError(f"--keyframes {keyframes}: a number, or a .npy ({reason}).") from error
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise UsageError(f"--keyframes {keyframes}: holds {list(rows.shape)}, not [K, z_dim].")
    return [{"latent": row.tolist()} for row in rows.astype(np.float32)]


def _in_turn(option: str, text: str | None, kind: type[int] | type[float]) -> list | None:
    """3,7,3 or 3>7>3, which a shell wants quoted."""
    if text is None:
        return None
    try:
        return [kind(part) for part in re.split("[,>]", text)]
    except ValueError:
        example = "3,7,3" if kind is int else "0.5,1"
        raise UsageError(f"{option} {text}: numbers with commas between: {example}.") from None


def sample(
    target: Path,
    /,
    *,
    grid: str | None = None,
    count: Whole | None = None,
    model: Path | None = None,
    seed: Whole = 0,
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
    from vidgan.film import writer as video
    from vidgan.generator import synthesis
    from vidgan.render import pipeline as rendering

    if grid and count is not None:
        raise UsageError("--grid and --count: one of the two.")
    if count is None:
        columns, rows = terminal.pair("--grid", grid or "8x4")
        check_new(target, suffix=".png", force=force)
        generator, _ = synthesis.open_default(model)
        picture = rendering.grid(generator, seed=seed, columns=columns, rows=rows)
        video.write_png(target, picture, {"model": generator.sha256, "seed": seed})
    else:
        if target.suffix.lower() == ".png":
            raise UsageError(f"{target}: --count writes a folder of PNG; --grid writes one PNG.")
        video.check_target(f"{target}/", force=force)
        generator, _ = synthesis.open_default(model)
        rendering.samples(generator, target, seed=seed, count=count, force=force)
    print(target)
