"""How far apart two sets of pictures are, by their features X and Y of shape [N, D]."""

from collections.abc import Iterator

import numpy as np

_ROWS = 1000  # of a table of distances that is computed at a time
_KID_ROWS = 2000  # of a table of kernels


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Squared 2-Wasserstein distance of the two Gaussians fitted to X and Y.

    |mean x - mean y|^2 + tr Cx + tr Cy - 2 tr (Cx Cy)^1/2 (Dowson and Landau 1982). The last trace
    is the sum of the singular values of Rx Ry^T, where R^T R = C, which is exact with fewer rows
    than D too. The distance is biased upwards, and more so with fewer rows.
    """
    (mean_x, root_x), (mean_y, root_y) = _moments(x), _moments(y)
    shared = np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum()
    spread = np.square(root_x).sum() + np.square(root_y).sum() - 2 * shared
    return max(0.0, float(np.square(mean_x - mean_y).sum() + spread))


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = x.astype(np.float64)
    mean = x.mean(0)
    return mean, np.linalg.qr((x - mean) / np.sqrt(max(len(x) - 1, 1)), mode="r")


def kid(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased squared MMD with the kernel (x . y / D + 1)^3 (Binkowski et al. 2018), of at most
    2,000 rows each. It does not depend on N, and hardly notices missing modes."""
    x, y = x[:_KID_ROWS].astype(np.float64), y[:_KID_ROWS].astype(np.float64)
    (m, width), n = x.shape, len(y)
    xx, yy, xy = ((a @ b.T / width + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - xx.trace()) / (m * (m - 1)) + (yy.sum() - yy.trace()) / (n * (n - 1))
    return float(within - 2 * xy.mean())


def recall(real: np.ndarray, fake: np.ndarray, *, neighbours: int = 3) -> float:
    """Share of reals that lie in a ball around a fake, which reaches its k-th nearest fake.

    Kynkaanniemi et al. 2019; their precision is the same with the two sets exchanged. Compare at
    equal N only, for the balls shrink as N grows.
    """
    reach = radii(fake, neighbours)
    return float(np.mean([inside for d in _squares(real, fake) for inside in (d <= reach).any(1)]))


def coverage(real: np.ndarray, fake: np.ndarray, *, neighbours: int = 5) -> float:
    """Share of reals whose ball, which reaches the k-th nearest real, holds a fake (Naeem et al.
    2020, equation 8). Real against real gives 1 - 2^-k. Compare at equal N only.

    Unlike recall it does not reward fakes that are far from everything, whose balls are large.
    """
    reach = radii(real, neighbours)
    nearest = np.min([d.min(0) for d in _squares(fake, real)], axis=0)  # of a real to a fake
    return float((nearest <= reach).mean())


def radii(x: np.ndarray, neighbours: int) -> np.ndarray:
    """Squared distance of each row to its k-th nearest other row, [N]."""
    assert len(x) > neighbours
    tables = [np.partition(d, neighbours, axis=1)[:, neighbours] for d in _squares(x, x)]
    return np.concatenate(tables)  # number 0 of the nearest is the row itself


def variety(real: np.ndarray, fake: np.ndarray) -> float:
    """Root mean square distance between fakes, divided by that between reals. A flaw that all fakes
    share keeps recall at 0, but not this.
    """
    # The small number is for reals that are all equal. It is lost in the sum of any others.
    between_fakes, between_reals = (x.var(0).sum() + 1e-12 for x in (fake, real))
    return float(np.sqrt(between_fakes / between_reals))


def _squares(x: np.ndarray, y: np.ndarray) -> Iterator[np.ndarray]:
    """Squared distances of all pairs, as tables of some rows of X each."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS]
        yield np.square(rows).sum(1)[:, None] + np.square(y).sum(1) - 2 * rows @ y.T
