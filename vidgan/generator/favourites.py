"""Pictures that a person keeps by name, as keyframes, in favourites.json beside the generator."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

from vidgan.disk.files import write_bytes
from vidgan.errors import ModelError, UsageError
from vidgan.generator import metadata, runs


def file_of(model: Path) -> Path:
    """Where the favourites of a generator's file lie; those of a snapshot are those of its run."""
    folder = model.parent
    return (folder.parent if folder.name == "generators" else folder) / "favourites.json"


def favourites(model: Path) -> dict[str, dict[str, Any]]:
    """Keyframes such as {"seed": 17, "index": 0, "class": 2}, by name. Raises ModelError."""
    file = file_of(model)
    table = metadata.read(file, {}) if file.exists() else {}
    return metadata.checked(table, dict.fromkeys(table, dict), where=str(file))


def keep(model: Path, name: str, keyframe: dict[str, int], *, force: bool) -> None:
    """Add a favourite, or with `force` replace one."""
    if runs.is_shipped(model):
        raise UsageError(
            "keep: favourites lie in the folder of a run, and the shipped generator is of none. "
            "Train one first, or name one with --model."
        )
    if not re.search(r"[^0-9\s]", name) or re.search("[,>]", name) or name.endswith(".npy"):
        raise UsageError(f"{name}: not a name; one has a letter and no comma, for example coast.")
    kept = favourites(model)
    if name in kept and not force:
        raise UsageError(f"{name}: is kept already; take another name, or --force to replace it.")
    lines = [f"  {json.dumps(n)}: {json.dumps(k)}" for n, k in (kept | {name: keyframe}).items()]
    write_bytes(file_of(model), ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def keyframes_of(model: Path, text: str) -> list[dict[str, Any]]:
    """The keyframes of "coast,17,flag": favourites, and seeds. Raises UsageError and ModelError."""
    kept, found = favourites(model), []
    for name in filter(None, map(str.strip, re.split("[,>]", text))):
        if name not in kept and not re.fullmatch("[0-9]{1,20}", name):
            known = f"kept are {', '.join(kept)}" if kept else "keep one with vidgan keep 17 coast"
            if runs.is_shipped(model):
                known = "train a run, of which vidgan keep 17 coast keeps one"
            if elsewhere := _other_run(model, name):
                known = f"it is kept in another run, add --model {elsewhere}"
            raise UsageError(f"--keyframes {name}: no favourite beside {model}; {known}.")
        found.append(dict(kept[name]) if name in kept else {"seed": int(name), "index": 0})
    return found


def _other_run(model: Path, name: str) -> Path | None:
    """A run beside that of the model in which there is a favourite of this name."""
    for file in sorted(file_of(model).parent.parent.glob("*/favourites.json"), reverse=True):
        with contextlib.suppress(ModelError, ValueError):
            if name in metadata.read(file, {}):
                return file.parent
    return None
