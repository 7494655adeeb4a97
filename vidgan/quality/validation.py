"""How far a run's pictures are from its data, at intervals, so that the best generator is kept.

N fakes are compared with N pictures of the data, in the features of `quality.features`. The floor
is the distance of these N to N other pictures of the data.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat

import numpy as np

from vidgan.config import AUTO, Config
from vidgan.data.cache import Dataset
from vidgan.data.order import fixed_sample
from vidgan.disk import files
from vidgan.disk.places import cache_root
from vidgan.errors import DataError, SystemFault
from vidgan.quality.distances import frechet, recall, variety
from vidgan.quality.features import DISTANCE, Lite0

logger = logging.getLogger(__name__)
_PICTURES, _LEAST = 500, 16  # N, where the data are large enough, and the smallest N
# Images until the first distance at 64x64. A larger picture takes longer to train on, but not to
# measure, so that the first distance comes sooner.
_FIRST_AT, _FIRST_AT_LEAST = 20_000, 5_000
# Of 64 published runs, this finds 17 of the 19 that decayed, and none that did not.
_WORSE, _IN_A_ROW = 1.5, 3


MEANING = "FD: how far from the real pictures, less is better. Recall, variety: 1 is best."


@dataclass(frozen=True, kw_only=True)
class Measured:
    images_seen: int
    distance: float
    recall: float  # share of reals that lie among the fakes
    variety: float  # of the fakes, as a share of that of the reals
    pictures: int  # N
    floor: float  # distance of reals to other reals

    def __str__(self) -> str:
        return (
            f"{DISTANCE} {self.distance:.1f} at {self.images_seen:,} images (N = {self.pictures}, "
            f"real against real {self.floor:.1f}), recall {self.recall:.2f}, "
            f"variety {self.variety:.2f}"
        )


class Validation:
    """Measures fakes against a data set. Raises SystemFault without the extra [metrics]."""

    def __init__(self, dataset: Dataset) -> None:
        self.count = min(_PICTURES, len(dataset) // 2)
        self.numbers = fixed_sample(dataset, 2 * self.count)
        self._lite0, file = Lite0(), cache_root() / "features" / f"{dataset.fingerprint}.npy"
        if not file.exists():
            with files.disk_faults(file.parent):
                file.parent.mkdir(parents=True, exist_ok=True)
            files.write_bytes(file, self._lite0(dataset.take(self.numbers)).tobytes())
        reals = np.fromfile(file, np.float32).reshape(2 * self.count, -1)
        self._reals, others = reals[: self.count], reals[self.count :]
        self._floor = frechet(self._reals, others)

    def measure(self, fakes: np.ndarray, images_seen: int) -> Measured:
        """Compare `fakes` uint8 [N, H, W, 3], of which there are `count`, with the data."""
        features = self._lite0(fakes)
        return Measured(
            images_seen=images_seen,
            distance=frechet(self._reals, features),
            recall=recall(self._reals, features),
            variety=variety(self._reals, features),
            pictures=self.count,
            floor=self._floor,
        )


def open_validation(dataset: Dataset, settings: Config) -> Validation | None:
    """Logs why and returns None where nothing can be measured."""
    if settings.train.distance_every_images == 0:
        return None
    try:
        if len(dataset) < 2 * _LEAST:
            raise DataError(f"too few pictures to measure a distance ({len(dataset)})")
        return Validation(dataset)
    except (DataError, SystemFault) as fault:
        logger.warning(f"{fault}; this run keeps its last generator, not its best.")
        return None


def next_at(images_seen: int, settings: Config) -> int:
    """How many images are seen at the next distance, where `images_seen` are seen now.

    By default the intervals grow, so that distances take a few hundredths of the time. It depends
    on nothing but the settings, so a resumed run measures where an uninterrupted one does.
    """
    model, every = settings.model, settings.train.distance_every_images
    if every == 0:
        return sys.maxsize
    if every != AUTO:
        return (images_seen // every + 1) * every
    first = max(_FIRST_AT_LEAST, _FIRST_AT * 64 * 64 // (model.width * model.height))
    points = accumulate(repeat(first), lambda point, step: int(1.2 * point) + step)
    return next(point for point in points if point > images_seen)


def kept(measured: Sequence[Measured]) -> Measured | None:
    """The distance of the generator that a run keeps: the smallest, and of equal ones the last."""
    return min(reversed(measured), key=lambda m: m.distance, default=None)


def is_past_best(measured: Sequence[Measured]) -> bool:
    """Whether each of the last three distances is above 1.5 times the best."""
    bound = _WORSE * min(m.distance for m in measured)
    return len(measured) > _IN_A_ROW and min(m.distance for m in measured[-_IN_A_ROW:]) > bound
