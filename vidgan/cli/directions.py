"""The verb directions: sliders with names for a generator."""

from pathlib import Path
from typing import TYPE_CHECKING

from vidgan.cli import terminal
from vidgan.cli.choose import shown_classes
from vidgan.cli.terminal import Whole
from vidgan.disk.files import check_new
from vidgan.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from vidgan.generator.synthesis import Synthesize

_ROOM = 45  # characters of a line of 80, for what a direction also moves


def directions(
    sheet: Path | None = None,
    /,
    *,
    model: Path | None = None,
    seed: Whole = 0,
    device: str = "auto",
    force: bool = False,
) -> None:
    """Find sliders for a generator: brighter, warmer, light-left, ... To use them: --direction.

    A slider is named after what it changes, as measured in pictures of random latents. It is
    offered as far as its measure follows it on other latents: a rank correlation of 0.9 or more.
    sefa and pca are what the first layers change most, without a name. All are written to
    generator.directions.json beside the generator, which takes about a minute, and listed.

    brighter, contrast, warmer (red, not blue), greener (not magenta), colourful, sharper; darks,
    whites (how much is so); light-left, light-top (that side is brighter); symmetric; area-warmer,
    area-greener (the largest area of one colour); larger, right, lower (the subject, where most
    pictures have one before an even ground).

    Args:
        sheet: Also show them in a picture, sheet.png: a row for each, of two latents from one end
            of the range to the other.
        model: Its generator, as for vidgan render. By default that of the newest run in runs/.
        seed: The number that decides the latents to measure.
        device: Where the generator runs: auto, cpu, cuda or mps.
        force: Find them again, and replace the picture, if vidgan wrote it.
    """
    from vidgan.film.writer import write_png
    from vidgan.generator import directions as kept
    from vidgan.generator import runs, synthesis

    source, name = runs.find_model(model)
    file = kept.file_of(source)
    if force and runs.is_shipped(source):
        raise UsageError("--force: the directions of the shipped generator come with it.")
    if sheet:
        check_new(sheet, suffix=".png", force=force)
    generator = synthesis.open_generator(source, device=device)
    if force or not file.exists():
        check_new(file, suffix=".json", force=force)
        kept.write(source, generator.weights_sha256, _found(generator, source, seed), force=force)
    known = kept.read(source, generator.weights_sha256)
    offered = {name: entry for name, entry in known.items() if entry["range"]}
    if sheet:
        comment = {"model": generator.sha256, "directions": list(offered)}
        write_png(sheet, _strips(generator, offered), comment, force=force)
    terminal.to_stdout(f"{file}: {len(offered)} directions of {name}")
    terminal.to_stdout("    direction     range  followed  also moves, per 1")
    for row, (direction, entry) in enumerate(offered.items()):
        also = {n: by for n, by in entry["moves"].items() if n != direction}
        most = sorted(also, key=lambda n: -abs(also[n]))[:3]
        said = ", ".join(f"{n} {also[n]:+.1f}" for n in most if abs(also[n]) >= 0.1)
        while len(said) > _ROOM:
            said = said.rpartition(", ")[0]
        follows = f"{entry['correlation']:.2f}" if direction in entry["moves"] else "-"
        terminal.to_stdout(
            f"{row:2}  {direction:12} {-entry['range']:3}..{entry['range']} {follows:>9}  {said}"
        )
    left = [f"{n} {e['correlation']:.2f}" for n, e in known.items() if not e["range"]]
    if left:
        terminal.to_stdout(f"not followed well enough: {', '.join(left)}")
    terminal.to_stdout(
        *shown_classes("by --labels", list(range(generator.classes)), generator.class_names)
    )


def _found(generator: "Synthesize", source: Path, seed: int) -> dict[str, dict]:
    """What the file says of each direction."""
    from vidgan.edit.find_directions import find
    from vidgan.generator import synthesis

    network = None
    if source.suffix == ".safetensors":
        network = synthesis.open_differentiable(source, device="cpu").network
    with terminal.working_bar() as advance:
        found = find(generator, network=network, seed=seed, progress=advance)
    return {
        name: {
            "range": one.range,
            "correlation": round(one.correlation, 4),
            "cosine": round(one.cosine, 4),
            "moves": {measure: round(by, 3) for measure, by in one.moves.items()},
            "vector": [float(f"{number:.6g}") for number in one.vector],
        }
        for name, one in found.items()
    }


def _strips(generator: "Synthesize", offered: dict[str, dict]) -> "np.ndarray":
    """A row of two latents for each direction, from one end of its range to the other."""
    import numpy as np

    from vidgan.latent import seeds
    from vidgan.render import pipeline

    z = seeds.numbered([17, 18], z_dim=generator.z_dim)
    swept = [
        z[:, None] + np.linspace(-e["range"], e["range"], 5)[:, None] * np.array(e["vector"])
        for e in offered.values()
    ]
    rows = np.concatenate(swept).reshape(-1, generator.z_dim).astype(np.float32)
    numbers = np.arange(len(offered)).repeat(10).tolist()
    return pipeline.grid_of_stills(
        generator,
        rows,
        columns=10,
        labels=[0] * len(rows) if generator.classes else (),
        numbers=numbers,
    )
