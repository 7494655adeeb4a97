"""What a run says in words: how long it goes on, what it kept, and how to look and to go on."""

from datetime import timedelta
from pathlib import Path

from vidgan.quality import validation
from vidgan.training.state import Run

ENDLESS = 10**15  # images, of a run that only a time ends


def goal(run: Run) -> str:
    """How long a resumed run goes on."""
    how, state = run.settings.train, run.state
    if state.images_seen >= how.images:
        return (
            f"{run.folder} has already seen {how.images:,} images. To train on, say until how many "
            f"(--for {state.images_seen / 500:g}k), or how much longer (--for 10m)."
        )
    done, length, left = (
        timedelta(seconds=round(s))
        for s in (state.trained_s, how.duration_s, how.duration_s - state.trained_s)
    )
    if 0 < how.duration_s <= state.trained_s:
        return f"{run.folder} has already trained for {length}. To train on, add --for 10m."
    images = f"until it has seen {how.images:,} images" if how.images < ENDLESS else ""
    time = f"for {left}" if how.duration_s else ""
    ends = " or ".join(filter(None, (time, images)))
    return f"{run.folder} has trained for {done} and trains on {ends}."


def kept(run: Run) -> str:
    """Which generator the run keeps."""
    how, seen, best = run.settings.train, run.state.images_seen, validation.kept(run.state.measured)
    over = seen - how.images
    rounded = f" ({how.images:,}, rounded up to whole steps of {how.batch_size})"
    if best and best.images_seen < seen:
        which = f"best, at {best.images_seen:,} images of {seen:,} seen"
    else:
        which = f"{'best and last' if best else 'last'}, at {seen:,} images"
    return f"{run.folder}: kept the {which}{rounded if 0 < over < how.batch_size else ''}"


def how_to_look(folder: Path) -> str:
    which = "" if folder.parent.resolve() == Path("runs").resolve() else f" --model {folder}"
    return f"To look: vidgan pick{which}; or vidgan render{which} look.mp4"


def how_to_continue(folder: Path) -> str:
    return f"To continue: vidgan train --resume {folder}"
