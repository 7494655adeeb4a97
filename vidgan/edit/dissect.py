"""What single units of a generator's early layers draw (after Bau et al. 2019, "GAN Dissection").

A unit is one map of a layer, after its activation. It draws what is in the pictures that excite it
most and vanishes from them when it is silenced, that is, when its map is set to 0.

    C units of a layer   h w their maps   F frames   H W pixels   K pictures shown   N latents
"""

import base64
import html
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vidgan.disk.files import write_bytes
from vidgan.disk.templates import filled, script_json
from vidgan.edit import find_directions
from vidgan.errors import ModelError
from vidgan.film import alpha
from vidgan.film.tiles import tile
from vidgan.generator.synthesis import Differentiable
from vidgan.latent import seeds
from vidgan.networks import pixels
from vidgan.networks.device import exact

_ACTIVE = (nn.ReLU, nn.LeakyReLU)
_LAYERS, _UNITS, _SHOWN = 3, 6, 6  # layers; units shown of each; pictures shown of a unit
_LATENTS, _MOST_BYTES, _BATCH = 1024, 2**28, 48  # fewer latents if pictures are large
_FRAMES, _FRAME_MS, _HOLD_MS = 6, 70, 900  # of a film: from all of a unit to nothing of it
_WIDEST = 128  # pixels of a picture on the page
# From nothing to the most: dark blue, violet, red, orange, light yellow.
_HEAT = np.array([(8, 10, 50), (90, 20, 120), (200, 50, 70), (250, 150, 30), (255, 250, 150)])
Progress = Callable[[int, int], None]  # called with the pictures done and the pictures to do


@dataclass(frozen=True, eq=False)
class Unit:
    """A unit, and pictures of the latents that excite it most, the most first.

    follows   rank correlations of how excited it is, the mean of its map, and measures, over all
              latents
    changes   how silencing it moves measures of its pictures, in standard deviations
    """

    number: int
    follows: dict[str, float]
    changes: dict[str, float]
    labels: list[int]  # of the pictures; 0 without classes
    film: np.ndarray  # uint8 [F, K, H, W, 3], the pictures while it is silenced
    heat: np.ndarray  # float32 [K, H, W], how excited it is where, from 0 to 1


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of C units.

    change   how much silencing a unit changes the pictures that excite it most: the mean, in grey
             levels, float [C]
    units    those that change their pictures most
    """

    maps: tuple[int, int]  # h, w
    change: np.ndarray
    units: list[Unit]


def dissect(
    generator: Differentiable, *, seed: int = 0, progress: Progress = lambda done, total: None
) -> list[Layer]:
    """The early layers of a generator. The same seed shows the same latents. Raises ModelError."""
    readers, probe, layers = _readers(generator), _Probe(generator, seed), []
    total = len(probe.z) + _SHOWN * sum(units for units, *_ in readers.values())
    with exact():
        excited = probe.look(readers, lambda done: progress(done, total))
        done = len(probe.z)
        for (reader, (units, *maps)), excitement in zip(readers.items(), excited, strict=True):
            most = np.argsort(-excitement, axis=0, kind="stable")[:_SHOWN].T  # [C, K]
            change = []
            for some in np.split(np.arange(units), range(8, units, 8)):
                rows, strength = most[some].ravel(), torch.ones(_SHOWN * len(some), units)
                strength[torch.arange(len(rows)), some.repeat(_SHOWN)] = 0
                off = abs(probe.made(rows, reader, strength) - probe.frames[rows].astype(int))
                change.append(off.mean((1, 2, 3)).reshape(-1, _SHOWN).mean(1))
                progress(done := done + len(rows), total)
            change = np.concatenate(change)
            chosen = np.argsort(-change, kind="stable")[:_UNITS].tolist()
            shown = [probe.unit(reader, one, most[one], excitement[:, one]) for one in chosen]
            layers.append(Layer(tuple(maps), change, shown))
    return layers


def _readers(generator: Differentiable) -> dict[nn.Module, tuple[int, int, int]]:
    """Modules that make or read the units of early layers, the first with maps below the pictures'
    size: each with C, h and w."""
    network, shapes = generator.network, {}
    if hasattr(network, "blocks"):  # r3gan
        readers = [block.second for block in network.blocks]
    else:
        readers = [one for one in network.layers if isinstance(one, _ACTIVE)]
    with ExitStack() as hooks:
        for reader in readers:
            keep = lambda x, reader=reader: shapes.update({reader: tuple(x.shape[1:])})  # noqa: E731
            hooks.enter_context(_hooked(reader, keep))
        z = torch.zeros(1, generator.z_dim, device=generator.device)
        generator(z, z[:, 0].long() if generator.classes else None)
    size = generator.height * generator.width
    early = {key: one for key, one in shapes.items() if 1 < one[1] * one[2] < size}
    if not early:
        raise ModelError(f"{generator.path}: has no layers of maps below the size of its pictures.")
    return dict(list(early.items())[:_LAYERS])


def latents(generator: Differentiable) -> int:
    """How many pictures are made to choose from."""
    room = _MOST_BYTES // (3 * generator.height * generator.width)
    return min(_LATENTS, max(_BATCH, room))


@contextmanager
def _hooked(reader: nn.Module, hook: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Within the block, `hook` sees what a module reads, and may give other maps in its place.

    Of an activation it sees what that makes, beside which the next layer may also read a layout.
    """
    if isinstance(reader, _ACTIVE):
        handle = reader.register_forward_hook(lambda module, inputs, made: hook(made))
    else:
        handle = reader.register_forward_pre_hook(lambda module, inputs: hook(*inputs))
    try:
        yield
    finally:
        handle.remove()


class _Probe:
    """A generator, latents, and the pictures of these with their measures."""

    def __init__(self, generator: Differentiable, seed: int) -> None:
        self.generator, height, width = generator, generator.height, generator.width
        count = latents(generator)
        self.z = seeds.gaussian(seed, np.arange(count), z_dim=generator.z_dim)
        self.labels = np.arange(count) % max(generator.classes, 1)
        self.frames = np.empty((count, height, width, 3), np.uint8)
        self.measured = np.empty((count, len(find_directions.MEASURES) + 1))

    def look(
        self, readers: dict[nn.Module, tuple], progress: Callable[[int], None]
    ) -> list[np.ndarray]:
        """Make all pictures. Returns how excited the units of each layer are, [N, C]."""
        excited = {reader: [] for reader in readers}
        with ExitStack() as hooks:
            for reader, parts in excited.items():
                keep = lambda x, parts=parts: parts.append(x.mean((2, 3)).cpu().numpy())  # noqa: E731
                hooks.enter_context(_hooked(reader, keep))
            for start in range(0, len(self.z), _BATCH):
                rows = slice(start, start + _BATCH)
                self.frames[rows] = self.made(rows)
                self.measured[rows] = find_directions.measures(self.frames[rows])
                progress(min(start + _BATCH, len(self.z)))
        return [np.concatenate(parts) for parts in excited.values()]

    def made(
        self,
        rows: np.ndarray | slice,
        reader: nn.Module | None = None,
        strength: Tensor | None = None,
    ) -> np.ndarray:
        """Frames of some latents, with the units [B, C] of a layer as strong as `strength` says."""
        device = self.generator.device
        z, labels = (torch.from_numpy(of[rows]).to(device) for of in (self.z, self.labels))
        with ExitStack() as hooks:
            if reader:
                factor = strength.to(device)[:, :, None, None]
                hooks.enter_context(_hooked(reader, lambda x: x * factor))
            image = self.generator(z, labels if self.generator.classes else None)
        return alpha.judged(pixels.to_frames(image).cpu().numpy())

    def unit(
        self, reader: nn.Module, number: int, rows: np.ndarray, excitement: np.ndarray
    ) -> Unit:
        seen: list[Tensor] = []
        with _hooked(reader, seen.append):
            self.made(rows)
        fade = (1 + torch.linspace(0, torch.pi, _FRAMES).cos()) / 2
        strength = torch.ones(_FRAMES * _SHOWN, seen[0].shape[1])
        strength[:, number] = fade.repeat_interleave(_SHOWN)
        film = self.made(np.tile(rows, _FRAMES), reader, strength)
        film = film.reshape(_FRAMES, _SHOWN, *film.shape[1:])
        heat = seen[0][:, number : number + 1].clamp(min=0)
        heat = interpolate(heat / heat.max().clamp(min=1e-9), film.shape[2:4], mode="bilinear")
        before, after = (find_directions.measures(frames) for frames in (film[0], film[-1]))
        by = (after - before).mean(0) / np.maximum(self.measured.std(0), 1e-9)
        follows, names = {}, find_directions.named(self.measured[:, -1].mean())
        for column, name in enumerate(names):
            follows[name] = find_directions.rank_correlation(excitement, self.measured[:, column])
        return Unit(
            number=number,
            follows=follows,
            changes=dict(zip(names, by.tolist(), strict=False)),
            labels=self.labels[rows].tolist(),
            film=film,
            heat=heat[:, 0].cpu().numpy(),
        )


def write_page(
    target: Path, generator: Differentiable, layers: list[Layer], name: str, *, force: bool
) -> None:
    """Write a page that needs no other file."""
    content = []
    for layer in layers:
        change = np.sort(layer.change)[::-1].round(2).tolist()
        units = [_on_page(unit, layer, generator.class_names) for unit in layer.units]
        content.append({"maps": layer.maps, "change": change, "units": units})
    count = f"{latents(generator):,}"
    values = {"NAME": html.escape(name), "LATENTS": count, "DATA": script_json(content)}
    page = filled(Path(__file__).with_name("dissect.html"), values)
    write_bytes(target, page, force=force)


def _on_page(unit: Unit, layer: Layer, classes: tuple[str, ...]) -> dict[str, object]:
    """What the page's script reads of a unit."""
    grey = unit.film[0].mean(3, keepdims=True)
    at = np.linspace(0, 1, len(_HEAT))
    colour = np.stack([np.interp(unit.heat, at, channel) for channel in _HEAT.T], axis=3)
    return {
        "number": unit.number,
        "change": round(float(layer.change[unit.number]), 1),
        "classes": [classes[label] for label in unit.labels] if classes else [],
        "follows": {name: round(by, 2) for name, by in unit.follows.items()},
        "changes": {name: round(by, 2) for name, by in unit.changes.items()},
        "pictures": _webp(unit.film[:1]),
        "heat": _webp((0.35 * grey + 0.65 * colour).astype(np.uint8)[None]),
        "film": _webp(np.concatenate([unit.film, unit.film[-2:0:-1]])),
        "silenced": _webp(unit.film[-1:]),
    }


def _webp(film: np.ndarray) -> str:
    """Rows of pictures uint8 [F, K, H, W, 3] as data: URL, moving if there are several."""
    rows = [Image.fromarray(tile(row, len(row))) for row in film]
    rows = [row.reduce(-(-max(film.shape[2:4]) // _WIDEST)) for row in rows]
    held, file = (0, _FRAMES - 1), io.BytesIO()  # all of the unit, and nothing
    times = [_HOLD_MS if number in held else _FRAME_MS for number in range(len(rows))]
    more = {"save_all": True, "append_images": rows[1:], "duration": times, "loop": 0}
    rows[0].save(file, "WEBP", quality=85, **(more if rows[1:] else {}))
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
