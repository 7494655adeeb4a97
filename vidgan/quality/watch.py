"""Watches a training run, and reports each problem once, with advice. It changes nothing."""

import logging
import math
from collections.abc import Iterable, Mapping

import numpy as np

from vidgan.quality.distances import radii

logger = logging.getLogger(__name__)
_START_IMAGES = 20_000  # every run begins with grey fakes and a D that is sure of them
_SURE = 0.99
_COLLAPSED = 0.1  # of the variety of reals
_VARIED = 0.3
_COLLAPSED_CLASS = 0.3  # of the variety of reals of that class; healthy runs have 0.5 or more
_AT_CAP = 0.999  # of the highest p of ADA
_REPEATED = 0.2  # of the distance of a real to the most similar real
_EXPLODED = 1000.0  # times the smallest gradient of the run so far
_SMOOTHING = 0.9
ADVICE = {
    "collapse": (
        "G makes almost the same picture of every latent (variety {variety:.0%} of that of reals). "
        "Stop, and start again with more pictures, --flip, another --seed, or "
        "in a recipe: [train] r1 = 10"
    ),
    "class collapse": (
        "G makes almost the same picture of every latent within {name} (variety {variety:.0%} of "
        "that of its reals), though the classes differ. Start again with more pictures of each "
        "class, or learn no classes (in a recipe: [data] labels = false)."
    ),
    "repetition": (
        "G makes the same few pictures again and again (the distance to the most similar one is "
        "{nearest:.0%} of that of reals). Start again with more pictures, --flip, or "
        "in a recipe: [train] r1 = 10"
    ),
    "decline": (
        "three distances in a row were above 1.5 times the best. The best generator is kept. For a "
        "better one, start again with more pictures, --flip, or lower learning rates."
    ),
    "overpowered": (
        "D has been certain about reals and fakes for {images:,} images, so G learns little. Add "
        "pictures or --flip, or lower train.learning_rate_d."
    ),
    "overfitting": (
        "ADA augments as much as it may, and D still memorizes the pictures. Add pictures or "
        "--flip, or stop: the run will not improve."
    ),
    "divergence": (
        "the gradients of {part} have grown {times:,.0f}-fold. Halve train.learning_rate_g and "
        "train.learning_rate_d, or use train.r1 = 10 (for r3gan, ten times its r1 and r2)."
    ),
}


def distance(pictures: np.ndarray) -> float:
    """Mean distance of two pictures out of uint8 [N, H, W, 3], as root mean square grey levels."""
    rows = pictures.reshape(len(pictures), -1).astype(np.float64)  # [N, P]
    spread = rows.var(0).mean()  # half the mean square over all pairs, equal ones included
    return math.sqrt(2 * spread * len(rows) / max(len(rows) - 1, 1))


def nearest(pictures: np.ndarray) -> float:
    """Mean distance of a picture to the most similar one, near 0 if a few pictures are repeated."""
    rows = pictures.reshape(len(pictures), -1).astype(np.float64)  # [N, P]
    return float(np.sqrt(np.maximum(radii(rows, 1), 0) / rows.shape[1]).mean())


class Watch:
    """Receives what training computes, and logs each problem when it first appears.

    reals                 pictures of the data, uint8 [N, H, W, 3]
    reported, varieties   what a resumed run has reported and found before
    of_class              some more pictures of the data by the name of their class
    """

    def __init__(
        self,
        reals: np.ndarray,
        reported: Iterable[str] = (),
        varieties: Iterable[float] = (),
        of_class: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.variety: float | None = None  # of the last samples, until it is taken
        self.class_variety: float | None = None  # likewise, of the class that varies least
        self.batch_variety = self.batch_nearest = 0.0  # of the fakes that were last looked at
        self._variety_of_reals, self._reals = max(distance(reals), 1e-9), reals
        of_class = of_class or {}
        self._variety_of_class = {name: max(distance(x), 1e-9) for name, x in of_class.items()}
        self._reported, self._flags = set(reported), []
        self._was_varied = max(varieties, default=0) > _VARIED
        self._unsure_at: int | None = None  # images seen when D was last unsure
        self._below_cap_at = 0  # images seen when ADA was last below its cap
        self._gradients: dict[str, tuple[float, float]] = {}  # logarithms: smoothed, smallest

    def samples(
        self, samples: np.ndarray, of_class: Mapping[str, np.ndarray], images_seen: int
    ) -> None:
        """Compare samples with reals, and those of each class with as many reals of it."""
        self.variety = distance(samples) / self._variety_of_reals
        self._was_varied |= self.variety > _VARIED
        if (self._was_varied or images_seen > _START_IMAGES) and self.variety < _COLLAPSED:
            self._report("collapse", variety=self.variety)
        if not of_class:
            return
        shares = {name: distance(x) / self._variety_of_class[name] for name, x in of_class.items()}
        name = min(shares, key=shares.get)
        self.class_variety = shares[name]
        if images_seen > _START_IMAGES and self.class_variety < _COLLAPSED_CLASS:
            self._report("class collapse", name=name, variety=self.class_variety)

    def fakes(self, fakes: np.ndarray, images_seen: int) -> None:
        """Compare the fakes of a step, uint8 [B, H, W, 3], with as many reals."""
        fakes, reals = fakes[: len(self._reals)], self._reals[: len(fakes)]
        if len(fakes) < 2:  # a small part of a batch, on one of many devices
            return
        self.batch_variety = distance(fakes) / max(distance(reals), 1e-9)
        self.batch_nearest = nearest(fakes) / max(nearest(reals), 1e-9)
        if images_seen > _START_IMAGES and self.batch_nearest < _REPEATED:
            self._report("repetition", nearest=self.batch_nearest)

    def past_best(self) -> None:
        self._report("decline")

    def certainty(self, sure_real: float, sure_fake: float, images_seen: int) -> None:
        if self._unsure_at is None or sure_real < _SURE or sure_fake > 1 - _SURE:
            self._unsure_at = images_seen
        sure_for = images_seen - max(self._unsure_at, _START_IMAGES)
        if sure_for > _START_IMAGES:
            self._report("overpowered", images=sure_for)

    def augmentation(self, share_of_cap: float, images_seen: int) -> None:
        if share_of_cap < _AT_CAP:
            self._below_cap_at = images_seen
        if images_seen - self._below_cap_at > _START_IMAGES:
            self._report("overfitting")

    def gradients(self, of_g: float, of_d: float) -> None:
        for part, norm in (("G", of_g), ("D", of_d)):
            value = math.log(max(norm, 1e-12))
            smooth, least = self._gradients.get(part, (value, value))
            smooth = _SMOOTHING * smooth + (1 - _SMOOTHING) * value
            self._gradients[part] = smooth, min(smooth, least)
            if smooth - least > math.log(_EXPLODED):
                self._report("divergence", part=part, times=math.exp(smooth - least))

    def take_flags(self) -> tuple[str, ...]:
        """The problems reported since the last call."""
        flags, self._flags = tuple(self._flags), []
        return flags

    def take_varieties(self) -> dict[str, float | None]:
        """Those of samples made since the last call, as numbers of the log."""
        found = {"variety": self.variety, "class_variety": self.class_variety}
        self.variety = self.class_variety = None
        return found

    def _report(self, problem: str, **facts: object) -> None:
        if problem not in self._reported:
            self._reported.add(problem)
            self._flags.append(problem)
            logger.warning(f"{problem}: {ADVICE[problem].format(**facts)}")
