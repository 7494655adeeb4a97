"""The verbs that make pictures and films: render, sample.

Heavy modules are imported inside the verb, so that --help answers at once and rendering an ONNX
file never loads torch.
"""

import os
from pathlib import Path

from vidgan import terminal
from vidgan.errors import UsageError


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
    resume: bool = False,
    contact_sheet: bool = False,
    yes: bool = False,
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
    resume
        Go on with a render that was killed, to the same frames; give the same command again.
    contact_sheet
        Also write out-sheet.png: 32 frames spread over the film.
    yes
        Go on though the job is very large.
    """
    from vidgan import render as rendering
    from vidgan import segments, synthesis, trajectory, video

    # As torchrun tells the processes that share a render.
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    rendering.check_frames(frames, yes=yes)
    segments.check(target, resume=resume, world=world)
    # After a kill between the end of a film and that of its segments, both are there.
    left = resume and segments.folder_of(target).exists()
    video.check_target(target, force=force or left)
    rate = video.check_fps(fps)
    sheet = target.with_name(f"{target.stem}-sheet.png")
    if contact_sheet and sheet.exists() and not (force or resume):
        raise UsageError(f"{sheet}: exists already; add --force to replace it.")

    generator, name = synthesis.open_default(model)
    path = trajectory.loop(
        seed=seed,
        frames=frames,
        z_dim=generator.z_dim,
        keyframes=keyframes,
        closed=loop,
        truncation=truncation,
    )
    comment = {"model": generator.sha256, "seed": seed, "path": "loop" if loop else "open"}
    say = terminal.say if rank == 0 else lambda line: None
    writer = video.VideoWriter(
        target, fps=rate, scale=scale, force=force or left, comment=comment, notice=say
    )
    with terminal.rendering_bar(frames) as advance:
        rendering.render(
            generator,
            path,
            writer,
            resume=resume,
            rank=rank,
            world=world,
            progress=advance,
            notice=say,
        )
    if rank > 0:
        return
    if contact_sheet:
        video.write_png(sheet, rendering.contact_sheet(generator, path), comment)
    print(f"{target}: {frames} frames of {name}, {generator.runs_on}")


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
    from vidgan import synthesis, video

    if grid and count is not None:
        raise UsageError("--grid and --count: one of the two.")
    if count is None:
        columns, rows = terminal.pair("--grid", grid or "8x4")
        if target.suffix.lower() != ".png":
            raise UsageError(f"{target}: a grid is a .png file.")
        if target.exists() and not force:
            raise UsageError(f"{target} exists; add --force to overwrite it.")
        generator, _ = synthesis.open_default(model)
        picture = rendering.grid(generator, seed=seed, columns=columns, rows=rows)
        video.write_png(target, picture, {"model": generator.sha256, "seed": seed})
    else:
        video.check_target(f"{target}/", force=force)
        generator, _ = synthesis.open_default(model)
        rendering.samples(generator, target, seed=seed, count=count, force=force)
    print(target)
