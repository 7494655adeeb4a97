"""The JSON in model files and beside them, read as if a stranger had written it.

A reader says which keys it needs and of which kind; anything else is a ModelError that names the
key. What passes is small enough to be handled: neither deep, nor long, nor with endless numbers.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import GenericAlias, UnionType
from typing import Any

from vidgan import config
from vidgan.errors import ModelError

Kinds = Mapping[str, type | GenericAlias | UnionType]  # a key of kind `str | None` may be missing
_LONGEST = 2**26  # characters; a self-test of floats, three times 1024x1024, has 50 million
_DEEPEST, _MOST_DIGITS = 16, 20  # levels; digits of 2^64


def parse(text: str | bytes | None, kinds: Kinds, *, where: str) -> dict[str, Any]:
    """The table that a text holds. Raises ModelError, which begins with `where`."""
    try:
        if text is None or len(text) > _LONGEST:
            raise ValueError("it is missing" if text is None else "it is too long")
        table = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
        if _depth(table) > _DEEPEST:
            raise ValueError("it is too deep")
    except (ValueError, RecursionError) as error:
        raise _unusable(where, str(error)) from error
    return checked(table, kinds, where=where)


def read(path: Path, kinds: Kinds) -> dict[str, Any]:
    """The table in a file of JSON. Raises ModelError."""
    try:
        with path.open("rb") as file:
            return parse(file.read(_LONGEST + 1), kinds, where=str(path))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}).") from error


def checked(table: object, kinds: Kinds, *, where: str) -> dict[str, Any]:
    """The table itself, if its keys have values of these kinds.

    It may have other keys, because a newer vidgan may write more. Raises ModelError.
    """
    if not isinstance(table, dict):
        raise _unusable(where, f"it is {table!r:.60} and not a table")
    for key, kind in kinds.items():
        value = table.get(key)
        if not config.fits(value, kind):
            wanted = kind.__name__ if type(kind) is type else kind
            found = f"{key} = {value!r:.60}: expected {wanted}" if key in table else f"no {key}"
            raise _unusable(where, found)
    return table


def _unusable(where: str, why: str) -> ModelError:
    return ModelError(f"{where} cannot be used ({why}). Use another copy, or export it again.")


def _depth(value: object) -> int:
    """How deep tables and lists lie in each other, up to a level that is too deep."""
    level, depth = [value], 0
    while depth <= _DEEPEST and (level := [x for x in level if isinstance(x, dict | list)]):
        level = [x for inner in level for x in (inner.values() if type(inner) is dict else inner)]
        depth += 1
    return depth


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(f"{number[:20]} is no number")
    return value
