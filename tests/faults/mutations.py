"""Valid files made hostile, as a function of a random generator: bytes, trees of JSON, names."""

import copy
import json
import random
import struct
from collections.abc import Callable, Sequence

_HEAD = 512  # bytes, in which most formats keep their lengths
_NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_LEAVES = (
    *(None, True, False, 0, 1, -1, 2, 7, 255, 256, 65536, 2**31, 2**63, 2**64, 10**30, -(2**63)),
    *(0.0, -0.0, 0.5, 1.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
    *(
        "",
        " ",
        "0",
        "x" * 5000,
        "\0",
        "\n",
        "\ud800",
        "../../x",
        "/etc/passwd",
        "http://localhost/",
    ),
    *([], {}, [[]], [{}], {"": 0}, [0] * 300, [1, "a", None]),
)
Tree = object  # what JSON holds


def mutated(seed: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Flipped bits, cuts, repeats, splices of two files, and numbers that lie about lengths."""
    content = bytearray(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        chance.choice(_BYTES)(content, others, chance)
    return bytes(content)


def _at(content: bytearray, chance: random.Random) -> int:
    """A place, half of the time in the head or at the end."""
    size = len(content)
    places = (size, size, min(size, _HEAD), min(size, 64))
    at = chance.randrange(max(1, chance.choice(places)))
    return size - 1 - at if chance.random() < 0.2 and size else at


def _flip(content: bytearray, _: object, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 2, 8, 32)) if content else 0):
        content[_at(content, chance)] ^= 1 << chance.randrange(8)


def _cut(content: bytearray, _: object, chance: random.Random) -> None:
    del content[_at(content, chance) :]


def _leave_out(content: bytearray, _: object, chance: random.Random) -> None:
    at = _at(content, chance)
    del content[at : at + chance.choice((1, 2, 4, 16, 400))]


def _repeat(content: bytearray, _: object, chance: random.Random) -> None:
    at, size = _at(content, chance), chance.choice((1, 4, 32, 500))
    content[at:at] = content[at : at + size] * chance.choice((1, 2, 40))


def _noise(content: bytearray, _: object, chance: random.Random) -> None:
    at, size = _at(content, chance), chance.choice((1, 4, 16, 100))
    fill = chance.choice((b"\0" * size, b"\xff" * size, chance.randbytes(size)))
    content[at : at + size] = fill


def _splice(content: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    other = chance.choice(others)
    start = chance.randrange(len(other) + 1)
    content[_at(content, chance) :] = other[start:]


def _lie(content: bytearray, _: object, chance: random.Random) -> None:
    form = chance.choice("BHIQ")
    size = struct.calcsize(form)
    if len(content) < size:
        return
    at = min(_at(content, chance), len(content) - size)
    order = chance.choice("<>")
    (value,) = struct.unpack_from(order + form, content, at)
    near = (value + 1, value - 1, 2 * value, len(content), len(content) - at)
    value = chance.choice((chance.choice(_NUMBERS), chance.choice(near)))
    struct.pack_into(order + form, content, at, value % 2 ** (8 * size))


_BYTES = (_flip, _flip, _cut, _leave_out, _repeat, _noise, _splice, _lie, _lie)


def mutated_tree(tree: Tree, chance: random.Random) -> Tree:
    """A tree of dictionaries and lists, with one to four places changed. The original is kept."""
    tree = json.loads(json.dumps(tree))
    for _ in range(chance.choice((1, 1, 2, 4))):
        tree = _change(tree, chance)
    return tree


def _change(tree: Tree, chance: random.Random) -> Tree:
    if isinstance(tree, dict) and tree and chance.random() < 0.9:
        key = chance.choice(list(tree))
        match chance.randrange(8):
            case 0:
                del tree[key]
            case 1:
                tree[key + chance.choice(("", "x", " "))] = _leaf(chance)
            case 2:
                tree[chance.choice(list(tree))] = tree[key]
            case _:
                tree[key] = _change(tree[key], chance)
        return tree
    if isinstance(tree, list) and tree and chance.random() < 0.8:
        index = chance.randrange(len(tree))
        match chance.randrange(6):
            case 0:
                del tree[index]
            case 1:
                tree[index:index] = [tree[index]] * chance.choice((1, 3, 200))
            case _:
                tree[index] = _change(tree[index], chance)
        return tree
    if type(tree) in (int, float) and chance.random() < 0.4:
        return chance.choice((-tree, tree + 1, tree - 1, tree * 1000, tree / 2, str(tree), [tree]))
    if chance.random() < 0.02:
        return deep(chance.choice((50, 400)))
    return _leaf(chance)


def _leaf(chance: random.Random) -> Tree:
    return copy.deepcopy(chance.choice(_LEAVES))


def deep(levels: int) -> Tree:
    tree: Tree = 0
    for _ in range(levels):
        tree = [tree]
    return tree


def text_of(tree: Tree, dumps: Callable[[Tree], str]) -> bytes:
    """As the format writes it; a value that the format does not have is written as text."""
    try:
        return dumps(tree).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return json.dumps(tree).encode()
