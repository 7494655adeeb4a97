"""The named directions of a generator, in generator.directions.json beside it.

The file names the generator that it was made for. `edit.find_directions` finds what is in it.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from vidgan.disk.files import write_bytes
from vidgan.errors import ModelError, UsageError
from vidgan.generator import metadata, synthesis

FORMAT = "vidgan-directions-1"
_KINDS = {"format": str, "generator_sha256": str, "directions": dict}
_ENTRY = {
    **{"vector": list[int | float], "range": int, "correlation": int | float},
    **{"cosine": int | float, "moves": dict},
}


def file_of(model: Path) -> Path:
    """generator.directions.json, of generator.safetensors as of generator.onnx."""
    return model.with_suffix(".directions.json")


def read(model: Path, weights_sha256: str) -> dict[str, dict]:
    """Entries by name; one with a range of 0 was tried and is not offered. Raises ModelError."""
    file = file_of(model)
    again = f"find them with: vidgan directions --model {model}"
    if not file.exists():
        raise ModelError(f"{file}: is missing, so that no direction has a name; {again}.")
    table = metadata.read(file, _KINDS)
    if table["format"] != FORMAT:
        raise ModelError(f"{file}: not the directions of a generator ({FORMAT}); {again} --force.")
    if table["generator_sha256"] != weights_sha256:
        raise ModelError(f"{file}: directions of another generator; {again} --force.")
    for name, entry in table["directions"].items():
        moves = metadata.checked(entry, _ENTRY, where=f"{file}: {name}")["moves"]
        metadata.checked(moves, dict.fromkeys(moves, int | float), where=f"{file}: {name}")
    return table["directions"]


def write(
    model: Path, weights_sha256: str, entries: Mapping[str, dict], *, force: bool = True
) -> Path:
    """Write the file, a line for each direction."""
    lines = [f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items()]
    head = f'"format": "{FORMAT}", "generator_sha256": "{weights_sha256}"'
    text = "{" + head + ', "directions": {\n' + ",\n".join(lines) + "\n}}\n"
    write_bytes(file_of(model), text.encode(), force=force)
    return file_of(model)


def entries_of(model: Path, asked: Mapping[str, list[float]]) -> list[dict]:
    """What a walk says of {"brighter": [-2, 2]}: with the vectors, so that it needs no other file.

    Raises UsageError for a name that is not offered.
    """
    known = read(model, synthesis.open_generator(model, device="cpu").weights_sha256)
    offered = [name for name, entry in known.items() if entry["range"]]
    for name in asked:
        if name not in offered:
            why = "this generator does not follow it" if name in known else "no such direction"
            raise UsageError(f"--direction {name}: {why}; known are {', '.join(offered)}.")
    return [
        {"name": name, "strengths": strengths, "vector": known[name]["vector"]}
        for name, strengths in asked.items()
    ]
