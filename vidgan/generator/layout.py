"""The layers that the tensors of a generator may belong to.

Tensors have names and shapes. Strides, paddings, activations and upsampling have no tensors. So
several chains of layers fit, and each gets a cost: the more unusual, the higher.

    Z z_dim   C channels   S side of the feature maps   K kernel
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from vidgan.errors import ModelError

_KEYS = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
_LARGEST_SIDE, _SMALLEST_SIDE = 1024, 8
_DEAREST, _MOST = 8.0, 20_000  # the cost of a chain, and the number of chains, at most
# Of a transposed convolution, by kernel: stride, padding, output padding, cost.
_GEOMETRIES = {
    1: [(1, 0, 0, 0.0), (1, 2, 0, 0.1)],  # the latter cuts 32 pixels to 28
    2: [(2, 0, 0, 0.0)],
    3: [(2, 1, 1, 0.0), (2, 1, 0, 0.3), (1, 1, 0, 0.3), (2, 0, 0, 0.6), (1, 0, 0, 1.2)],
    4: [(2, 1, 0, 0.0), (1, 0, 0, 0.8), (2, 0, 0, 0.8), (2, 2, 0, 1.2)],
    5: [(2, 2, 1, 0.0), (1, 2, 0, 0.3), (2, 2, 0, 0.8), (1, 0, 0, 1.2), (2, 0, 0, 1.2)],
    6: [(2, 2, 0, 0.0), (1, 0, 0, 1.2), (2, 0, 0, 1.2)],
    7: [(1, 3, 0, 0.0), (2, 3, 1, 0.3), (1, 0, 0, 0.8)],
    8: [(4, 2, 0, 0.0), (2, 3, 0, 0.3)],
}


class Part(NamedTuple):
    """A module that has tensors."""

    name: str
    kind: str  # linear, kernel (of either kind of convolution) or norm
    tensors: dict[str, Tensor]
    hidden: int = 0  # modules without tensors between this part and the one before
    exact: bool = False  # otherwise `hidden` is only the least number

    @property
    def out(self) -> set[int]:
        """The channels that it may make."""
        shape = self.tensors["weight"].shape
        return set(shape[:2]) if self.kind == "kernel" else {shape[0]}


class Step(NamedTuple):
    """A layer as `vidgan.networks.imported` writes it, or "norm", "activation" or "upsample"."""

    text: str
    part: int | None = None  # its number in `parts`, if it has tensors


class Chain(NamedTuple):
    steps: tuple[Step, ...]
    parts: tuple[Part, ...]
    z_dim: int
    colours: int
    side: int
    cost: float


def chains(tensors: dict[str, Tensor], size: int | None = None) -> list[Chain]:
    """All chains that make pictures of a usual size, or of this size, the cheapest first.

    Raises ModelError, with the reason, if the tensors are not those of a chain.
    """
    parts = _parts(tensors)
    found: list[Chain] = []
    for order in _orders(parts):
        walk = itertools.islice(_Walk(order).all(), _MOST)
        found = [Chain(steps, order, *end, cost) for steps, end, cost in walk]
        if found:
            break
    if not found:
        raise ModelError("its layers do not follow from one another as in a plain chain")
    sides = sorted({chain.side for chain in found})
    if size:
        found = [chain for chain in found if chain.side == size]
    priced = [(chain, 0.0 if size else _cost_of_size(chain)) for chain in found]
    usual = [c._replace(cost=c.cost + cost) for c, cost in priced if cost is not None]
    if not usual:
        known = ", ".join(map(str, sides[:20]))
        raise ModelError(f"its layers may make sides of {known}; choose with --size")
    return sorted(usual, key=lambda chain: chain.cost)


def _cost_of_size(chain: Chain) -> float | None:
    """None for sizes that hardly anyone uses."""
    side, grey = chain.side, chain.colours == 1
    if side in (64, 128, 256, 512, 1024):
        return 0.0
    if side in (28, 32):
        return 0.3 if grey == (side == 32) else 0.0
    return None if side % 8 else 1.0


def _parts(tensors: dict[str, Tensor]) -> list[Part]:
    """The modules in the order of the file. Raises ModelError for kinds that are not known."""
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        module, _, key = name.rpartition(".")
        if key not in _KEYS or not (tensor.is_floating_point() or key == "num_batches_tracked"):
            raise ModelError(f"{name} {list(tensor.shape)} belongs to no layer that vidgan knows")
        modules.setdefault(module, {})[key] = tensor.float()
    parts = [Part(name, _kind(name, own), own) for name, own in modules.items()]
    if sum(part.kind != "norm" for part in parts) < 2:
        raise ModelError("too few layers for a generator")
    return parts


def _kind(name: str, own: dict[str, Tensor]) -> str:
    if "running_mean" in own and "running_var" in own:
        own.setdefault("weight", torch.ones_like(own["running_mean"]))
        own.setdefault("bias", torch.zeros_like(own["running_mean"]))
    weight, bias = own.get("weight", torch.zeros(0)), own.get("bias")
    shape, usual = list(weight.shape), weight.numel() > 0
    if "running_var" in own:
        same = {tensor.shape for key, tensor in own.items() if key != "num_batches_tracked"}
        if usual and len(shape) == 1 and len(same) == 1:
            return "norm"
    elif usual and (bias is None or (bias.ndim == 1 and len(bias) in shape[:2])):
        if len(shape) == 4 and shape[2] == shape[3]:
            return "kernel"
        if len(shape) == 2:
            return "linear"
    what = "a norm without running statistics" if len(shape) == 1 else "of an unknown kind"
    raise ModelError(f"{name} {shape} is {what}")


def _placed(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts with how many modules lie between them, by their numbers in a Sequential."""
    placed: list[Part] = []
    for part in parts:
        hidden, exact = _between(placed[-1].name, part.name) if placed else (0, False)
        placed.append(part._replace(hidden=hidden, exact=exact))
    if not any(part.hidden for part in placed):  # no Sequential, so that the numbers say nothing
        placed = [part._replace(exact=False) for part in placed]
    return tuple(placed)


def _between(before: str, name: str) -> tuple[int, bool]:
    """How many modules lie between two of a Sequential, and whether that is exact."""
    a, b = before.split("."), name.split(".")
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
    inside = itertools.takewhile(str.isdecimal, b[same + 1 :])
    ahead = sum(map(int, inside))  # modules at the head of an inner Sequential
    if not (a[same].isdecimal() and b[same].isdecimal()):
        return ahead, False
    exact = len(a) == same + 1 and all(map(str.isdecimal, b[same + 1 :]))
    return max(0, int(b[same]) - int(a[same]) - 1 + ahead), exact


def _orders(parts: list[Part]) -> Iterator[tuple[Part, ...]]:
    """As in the file; sorted by name; the same with each norm behind the next layer it fits."""

    def by_number(part: Part) -> list[object]:
        words = re.split(r"(\d+)", part.name)
        return [part.kind != "linear", *(int(w) if w.isdecimal() else w for w in words)]

    orders = parts, sorted(parts, key=by_number)
    yield from (_placed(order) for order in orders if order[0].kind != "norm")
    for some in orders:
        norms = [part for part in some if part.kind == "norm"]
        order: list[Part] = []
        for part in some:
            if part.kind != "norm":
                order.append(part)
                if norms and any(n % len(norms[0].tensors["weight"]) == 0 for n in part.out):
                    order.append(norms.pop(0))
        if not norms:
            yield tuple(order)


class _Walk:
    """All chains along parts in one order."""

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self.parts = parts
        last = [part for part in parts if part.kind != "norm"][-1].tensors["weight"].shape
        self.ends_in_conv = last[0] in (1, 3)

    def all(self) -> Iterator[tuple[tuple[Step, ...], tuple[int, int, int], float]]:
        """Steps, (z_dim, colours, side) and cost of each chain."""
        first = self.parts[0]
        shape = first.tensors["weight"].shape
        z_dim = shape[1] if first.kind == "linear" else shape[0]
        for steps, colours, side, cost in self._from(0, z_dim, 1, 0.0):
            yield steps, (z_dim, colours, side), cost

    def _from(
        self, i: int, c: int, side: int, cost: float
    ) -> Iterator[tuple[tuple[Step, ...], int, int, float]]:
        """The ways from input [C, S, S] of part i to the picture."""
        if cost > _DEAREST or side > _LARGEST_SIDE:
            return
        if i == len(self.parts):
            if c in (1, 3) and side >= _SMALLEST_SIDE:
                yield (), c, side, cost
            return
        if c <= 3 and any(part.kind != "norm" for part in self.parts[i:]):
            return  # a discriminator follows
        for before, dear in self._junction(i):
            doubled = side * 2 if Step("upsample") in before else side
            for text, to, new, more in self._layers(i, c, doubled, enlarged=doubled > side):
                for rest in self._from(i + 1, to, new, cost + dear + more):
                    yield (*before, Step(text, i), *rest[0]), *rest[1:]

    def _junction(self, i: int) -> list[tuple[tuple[Step, ...], float]]:
        """What may lie before part i, with costs."""
        if i == 0:
            return [((), 0.0)]
        part, before = self.parts[i], self.parts[i - 1]
        act, up = Step("activation"), Step("upsample")
        hidden = max(0, part.hidden - self._reshaped_before(i))
        if part.exact and not hidden:
            return [((), 0.0)]
        if part.kind == "norm":
            return [((act,), 0.0)] if part.exact else [((), 0.0)]
        none = [((), 0.5 if before.kind != "norm" else 1.0)]
        if not _may_be_conv(part):
            return [((act,), 0.0)] if part.exact else [((act,), 0.0), *none]
        if part.exact and hidden == 1:
            start = before.kind == "norm" and self._reshaped_before(i - 1)
            return [((act,), 0.3 * start), ((up,), 0.6 * (not start))]
        others = any(p.hidden and not p.exact for p in self.parts if _may_be_conv(p))
        rare = 0.6 * (not hidden and others)  # the others show that something precedes them
        return [((act, up), rare), ((act,), 0.4 - rare / 2), ((up,), 0.8 + rare), *none]

    def _reshaped_before(self, i: int) -> bool:
        """Whether part i is the first to see maps, after linear layers."""
        part, before = self.parts[i], self.parts[i - 1]
        if part.kind == "linear" or i == 0:
            return False
        if before.kind == "linear":
            return part.kind == "kernel" or part.out != before.out
        further = self.parts[i - 2] if i > 1 else before
        return before.kind == "norm" and further.kind == "linear" and before.out == further.out

    def _layers(
        self, i: int, c: int, side: int, *, enlarged: bool
    ) -> Iterator[tuple[str, int, int, float]]:
        """Part i as a layer for input [C, S, S]: text, channels and side of the output, cost."""
        part, shape = self.parts[i], self.parts[i].tensors["weight"].shape
        if part.kind == "norm":
            if shape[0] in (c, c * side * side):
                yield "norm", c, side, 0.0
        elif part.kind == "linear":
            if shape[1] == c and side == 1:
                yield from self._reshaped(i, shape[0])
        else:
            if shape[0] == c and not enlarged:
                for stride, padding, more, cost in self._geometries(shape[2], side):
                    new = (side - 1) * stride - 2 * padding + shape[2] + more
                    text = f"conv-transpose {shape[1]} {shape[2]} {stride} {padding} {more}"
                    if new > 0:
                        yield text, shape[1], new, cost + self._unlike(part, conv=False)
            if shape[1] == c and i and _may_be_conv(part):
                text = f"conv {shape[0]} {shape[2]}"
                yield text, shape[0], side, self._unlike(part, conv=True)

    def _reshaped(self, i: int, features: int) -> Iterator[tuple[str, int, int, float]]:
        following = [part for part in self.parts[i + 1 :] if part.kind != "norm"]
        if following and following[0].kind == "linear":
            yield f"linear {features} 1 1", features, 1, 0.0
            return
        channels = following[0].tensors["weight"].shape[:2] if following else (1, 3)
        for c in sorted(set(channels)):
            side = math.isqrt(features // c)
            if c * side * side == features and (following or side >= _SMALLEST_SIDE):
                yield f"linear {c} {side} {side}", c, side, 0.0

    def _geometries(self, kernel: int, side: int) -> Iterable[tuple[int, int, int, float]]:
        if side == 1:  # the stride does not matter
            return [(1, 0, 0, 0.0)]
        return _GEOMETRIES.get(kernel, ())

    def _unlike(self, part: Part, *, conv: bool) -> float:
        """The cost of another kind than that of the last layer, where the shape does not tell."""
        shape = part.tensors["weight"].shape
        return float(shape[0] == shape[1] and conv != self.ends_in_conv)


def _may_be_conv(part: Part) -> bool:
    return part.kind == "kernel" and part.tensors["weight"].shape[2] % 2 == 1
