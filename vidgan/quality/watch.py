"""Every run watches itself: collapse and divergence are named once, with what to do about them.

It judges numbers that training has anyway, and the previews of the fixed latents. It changes
nothing: that a run ends past its best, or at a gradient that is no number, is the loop's business.
"""

import logging
import math

import numpy as np

logger = logging.getLogger(__name__)

_SETTLED_IMAGES = 20_000  # before that, grey fakes and a sure D are how every run begins
_SURE = 0.99
_COLLAPSED = 0.1  # of the variety of reals
_VARIED = 0.3
_AT_CAP = 0.999  # of the highest p of ADA
_REPEATED = 0.2  # of how far a real is from the real most like it
_EXPLODED = 1000.0  # times the smallest gradients of the run so far
_SMOOTHING = 0.9

ADVICE = {
    "collapse": (
        "G paints nearly one picture for all latents (variety {variety:.0%} of that of the reals). "
        "Stop, and train anew with more pictures, --flip, another --seed, or train.r1 = 10."
    ),
    "repetition": (
        "G paints the same few pictures again and again (each is {nearest:.0%} as far from the one "
        "most like it as reals are). Train anew with more pictures, --flip, or train.r1 = 10."
    ),
    "decline": (
        "three distances in a row were above 1.5 times the best. The best generator is kept; for a "
        "better one, train anew with more pictures, --flip, or lower learning rates."
    ),
    "overpowered": (
        "D has told reals from fakes with certainty for {images:,} images, so G learns little. "
        "Give it more pictures or --flip, or lower train.learning_rate_d."
    ),
    "overfitting": (
        "ADA distorts as much as it may, and D still knows the pictures by heart. Give it more of "
        "them or --flip, or end the run: it will not get better."
    ),
    "divergence": (
        "gradients of {part} have grown {times:,.0f}-fold. Halve train.learning_rate_g and _d, or "
        "take train.r1 = 10 (r3gan: ten times its r1 and r2)."
    ),
}


def distance(pictures: np.ndarray) -> float:
    """Mean distance between two of the pictures uint8 [N, H, W, 3], in grey levels (root mean
    square)."""
    rows = pictures.reshape(len(pictures), -1).astype(np.float64)  # [N, P]
    spread = rows.var(0).mean()  # half the mean square over all pairs, a picture with itself too
    return math.sqrt(2 * spread * len(rows) / max(len(rows) - 1, 1))


def nearest(pictures: np.ndarray) -> float:
    """Mean distance of a picture to the one most like it; it falls to 0 where few are painted
    again and again, which `distance` does not see."""
    rows = pictures.reshape(len(pictures), -1).astype(np.float64)  # [N, P]
    squares = np.square(rows).sum(1)
    apart = squares[:, None] + squares - 2 * rows @ rows.T  # [N, N]
    np.fill_diagonal(apart, np.inf)
    return float(np.sqrt(np.maximum(apart.min(1), 0) / rows.shape[1]).mean())


class Watch:
    """Is told what training sees, and says what trouble it has not named before."""

    def __init__(self, reals: np.ndarray, named: set[str]) -> None:
        self.variety = 0.0  # of the last previews
        self.batch_variety = self.batch_nearest = 0.0  # of the last step that was looked at
        self._of_reals, self._reals = max(distance(reals), 1e-9), reals
        self._named, self._fresh = set(named), []
        self._was_varied = False
        self._unsure_at: int | None = None  # images seen when D was last unsure
        self._below_cap_at = 0  # images seen when ADA could still do more
        self._gradients: dict[str, tuple[float, float]] = {}  # log of now (smooth), and smallest

    def previews(self, fakes: np.ndarray, images_seen: int) -> None:
        self.variety = distance(fakes) / self._of_reals
        self._was_varied |= self.variety > _VARIED
        if (self._was_varied or images_seen > _SETTLED_IMAGES) and self.variety < _COLLAPSED:
            self._name("collapse", variety=self.variety)

    def fakes(self, fakes: np.ndarray, images_seen: int) -> None:
        """Of one step, uint8 [B, H, W, 3]; compared with as many reals."""
        fakes, reals = fakes[: len(self._reals)], self._reals[: len(fakes)]
        if len(fakes) < 2:  # of a rank among many
            return
        self.batch_variety = distance(fakes) / max(distance(reals), 1e-9)
        self.batch_nearest = nearest(fakes) / max(nearest(reals), 1e-9)
        if images_seen > _SETTLED_IMAGES and self.batch_nearest < _REPEATED:
            self._name("repetition", nearest=self.batch_nearest)

    def past_best(self) -> None:
        self._name("decline")

    def certainty(self, sure_real: float, sure_fake: float, images_seen: int) -> None:
        if self._unsure_at is None or sure_real < _SURE or sure_fake > 1 - _SURE:
            self._unsure_at = images_seen
        sure_for = images_seen - max(self._unsure_at, _SETTLED_IMAGES)
        if sure_for > _SETTLED_IMAGES:
            self._name("overpowered", images=sure_for)

    def augmentation(self, share_of_cap: float, images_seen: int) -> None:
        if share_of_cap < _AT_CAP:
            self._below_cap_at = images_seen
        if images_seen - self._below_cap_at > _SETTLED_IMAGES:
            self._name("overfitting")

    def gradients(self, of_g: float, of_d: float) -> None:
        for part, norm in (("G", of_g), ("D", of_d)):
            value = math.log(max(norm, 1e-12))
            smooth, least = self._gradients.get(part, (value, value))
            smooth = _SMOOTHING * smooth + (1 - _SMOOTHING) * value
            self._gradients[part] = smooth, min(smooth, least)
            if smooth - least > math.log(_EXPLODED):
                self._name("divergence", part=part, times=math.exp(smooth - least))

    def take_flags(self) -> tuple[str, ...]:
        """Troubles named since this was last asked."""
        flags, self._fresh = tuple(self._fresh), []
        return flags

    def _name(self, trouble: str, **facts: object) -> None:
        if trouble not in self._named:
            self._named.add(trouble)
            self._fresh.append(trouble)
            logger.warning(f"{trouble}: {ADVICE[trouble].format(**facts)}")
