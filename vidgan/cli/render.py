"""The verb that makes films: render."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vidgan.cli import terminal
from vidgan.cli.choose import shown_classes
from vidgan.cli.formats import FileOptions, sized, target_of
from vidgan.cli.moves import WalkOptions, names, walks_of
from vidgan.disk.files import check_new
from vidgan.errors import UsageError
from vidgan.generator import runs

if TYPE_CHECKING:
    from vidgan.film.segments import Share
    from vidgan.film.target import Target
    from vidgan.film.writer import VideoWriter
    from vidgan.generator.synthesis import Synthesize
    from vidgan.render.chapters import Chapters
    from vidgan.render.walk import BoundWalk, Walk


_USUAL_WALK, _USUAL_FILE = WalkOptions(), FileOptions()


def render(
    target: str,  # a Path would lose the slash that makes it a folder
    /,
    *,
    model: str | None = None,
    walk: str | None = None,
    save_walk: Path | None = None,
    moves: WalkOptions = _USUAL_WALK,
    file: FileOptions = _USUAL_FILE,
    force: bool = False,
    resume: bool = False,
    contact_sheet: bool = False,
    plot: Path | None = None,
    through_training: bool = False,
    device: str = "auto",
    sign: Path | None = None,
    sign_key: Path | None = None,
    yes: bool = False,
) -> None:
    """Render a video: a smooth walk through the pictures that a generator can make.

    Args:
        target: The file to write: out.mp4, .webm, .mov (ProRes), .mkv (FFV1), .gif, .apng or .webp;
            or a folder for PNG files, which ends in a slash: stills/.
        model: generator.safetensors, generator.onnx, the folder of a run (which may be training),
            or RUN@50k: as it was at 50,000 images. By default the newest run in runs/, or else the
            generator that comes with vidgan, called earth.
        walk: Show the walk of a file that --save-walk wrote. Options of "The walk" win over it.
            Several are shown one after the other: a.json,b.json, each of its --model if there are
            as many: a.onnx,b.onnx.
        save_walk: Also write the walk to this file, for example walk.json, to render it again.
        force: Replace the target, if vidgan wrote it.
        resume: Keep what is done if this is stopped or killed, and go on from there when the same
            command is given again. Say it from the start on.
        contact_sheet: Also write out-sheet.png, one picture of 32 frames spread over the film. Of
            --path motion, four clips of eight frames, and below each the nearest clip of the film
            that the motion was learned from.
        plot: Also draw how fast the walk goes and what the sound does, over time, as plot.png. It
            is there before the film.
        through_training: Show the walk while the generator of a run learns, from its first pictures
            to those of now, or of RUN@50k.
        device: Where the generator runs: auto (a GPU if there is one that works), cpu, cuda or mps.
        sign: Sign the film (C2PA) with this certificate and its chain, a PEM file. See vidgan
            verify.
        sign_key: The private key of that certificate, a PEM file.
        yes: Render even if it will take hours, or frames of more than 8192 pixels.
    """
    from vidgan.film import encoders, segments
    from vidgan.film.writer import VideoWriter, write_png
    from vidgan.render import beside, pipeline

    source, name = runs.find_model(names(model)[0] if model else None)
    # Before the walks, for which photographs may be inverted, and which know the frame rate.
    out = target_of(target, file, fps=moves.fps or "30")
    segments.check(out, resume=resume, world=(share := _share()).world)
    # A render killed at its very end leaves both its segments and the finished film.
    replace = force or (resume and segments.folder_of(out.path).exists())
    if resume and not replace and out.path.is_file():
        terminal.to_stderr(f"{target}: is there, with nothing to continue.")
        return
    out.check(force=replace)
    sheet = out.path.with_name(f"{out.path.stem}-sheet.png") if contact_sheet else None
    for extra, suffix in ((save_walk, ".json"), (sheet, ".png"), (plot, ".png")):
        if extra:
            check_new(extra, suffix=suffix, force=force or resume)
    signer = _signer(out, sign, sign_key)
    asked = walks_of(moves, walk, model, source, device)
    pipeline.check_frames(sum(one.frames for one in asked), yes=yes)
    files = runs.history(source) if through_training else [source]
    bound, generator, name = _bound(asked, out, source, files, name, device)
    out = sized(out.at_rate(asked[0].fps), file, bound.generator)
    encoders.check_size(out, bound.generator.height, bound.generator.width, yes=yes)
    pipeline.check_frames(bound.frames, yes=yes)  # of a sound, only now known
    comment, again = bound.comment(), force or resume
    if plot and share.rank == 0:
        _draw(plot, bound, force=again)
    # Before the long work, since it may need a film that has gone.
    picture = beside.contact_sheet(bound, terminal.to_stderr) if sheet and not share.rank else None

    def finish(film: Path) -> None:
        """Runs before the film gets its name, so that a killed render can be resumed to here."""
        if signer:
            signer(film)
        if sheet:
            write_png(sheet, picture, comment, force=again)
        if save_walk:
            bound.save(save_walk, force=again)

    song, from_s = bound.walk.audio, (bound.walk.audio_part or [0])[0]
    writer = VideoWriter(
        out, force=replace, sound=song, sound_from_s=from_s, finish=finish, comment=comment
    )
    chosen, count = _write(bound, writer, resume=resume, share=share)
    if share.rank == 0:
        _say_what_is_in(target + chosen, count, bound, generator, name)


def _draw(target: Path, bound: "BoundWalk | Chapters", *, force: bool) -> None:
    from vidgan.film.writer import write_png
    from vidgan.render.plot import plot  # which imports Pillow

    write_png(target, plot(bound), synthetic=False, force=force)


def _write(
    bound: "BoundWalk | Chapters", writer: "VideoWriter", *, resume: bool, share: "Share"
) -> tuple[str, int]:
    """Returns what --max-size has chosen, to be said, and the number of frames in the file."""
    from vidgan.render import max_size, pipeline

    with terminal.working_bar() as advance:
        if writer.target.most_bytes:
            like, frames = max_size.render_below(bound.generator, bound, writer, progress=advance)
            return f" ({like})", frames
        pipeline.render(
            bound.generator, bound, writer, resume=resume, share=share, progress=advance
        )
    return "", bound.frames


def _bound(
    asked: "list[Walk]", out: "Target", source: Path, files: list[Path], name: str, device: str
) -> "tuple[BoundWalk | Chapters, Synthesize, str]":
    """The walks through their generators, or one through several; the last of them; a name."""
    from vidgan.generator import synthesis
    from vidgan.render import chapters

    if len(files) == 1:
        bound, last, name = chapters.bind(asked, source, name, sound_into=out, device=device)
    elif len(asked) > 1:
        raise UsageError("--through-training: takes one walk; give one file to --walk.")
    else:
        # A motion, and what is measured, is of the generator itself: the last snapshot may differ.
        last, *stages = [synthesis.open_generator(path, device=device) for path in (source, *files)]
        bound = asked[0].bind(last, name=name, sound_into=out).through(stages)
        name = f"{len(stages)} generators up to {files[-1]}"
    return bound, last, name


def _signer(
    out: "Target", certificate: Path | None, key: Path | None
) -> Callable[[Path], None] | None:
    from vidgan.marks import c2pa

    if (certificate is None) != (key is None):
        raise UsageError("--sign cert.pem and --sign-key key.pem: both, or neither.")
    if certificate and out.most_bytes:
        raise UsageError("--sign and --max-size: a signature would make the file larger.")
    return c2pa.signer(out.path, certificate, key) if certificate else None


def _say_what_is_in(
    target: str, count: int, bound: "BoundWalk | Chapters", generator: "Synthesize", name: str
) -> None:
    shown = shown_classes("shown", bound.walk.labels or [0], generator.class_names)
    frames = f"{count} frame{'s' * (count != 1)}"
    terminal.to_stdout(f"{target}: {frames} of {name}, {generator.runs_on}", *shown)


def _share() -> "Share":
    """What torchrun tells the processes that share a render."""
    from vidgan.film.segments import Share

    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    launch = (os.environ.get(name, "") for name in ("TORCHELASTIC_RUN_ID", "MASTER_PORT"))
    return Share(rank, world, launch="-".join(launch))
