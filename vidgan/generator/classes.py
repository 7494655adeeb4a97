"""The classes of a generator, by number and by name. The names are those of the data's folders."""

import logging
import re
from collections.abc import Sequence

from vidgan.errors import UsageError

logger = logging.getLogger(__name__)
_MOST, _LONGEST = 20, 40  # names in a list; letters of a name


def listed(names: Sequence[str], numbers: Sequence[int] | None = None) -> str:
    """All classes, or those of some numbers, for people: "0 flags, 1 women, and 98 more"."""
    numbers = range(len(names)) if numbers is None else numbers
    shown = [f"{number} {_short(names[number])}" for number in numbers[:_MOST]]
    more = [f"and {len(numbers) - _MOST} more"] if len(numbers) > _MOST else []
    return ", ".join([*shown, *more])


def numbers_of(labels: Sequence[int | str], names: Sequence[str]) -> list[int]:
    """The numbers of classes that a person gave by number or name. Raises UsageError.

    A text of digits is a number, if the model has so many classes, and else a name.
    """
    if labels and not names:
        raise UsageError("--labels: this model was trained without classes.")
    return [_number_of(label, names) for label in labels]


def _number_of(label: int | str, names: Sequence[str]) -> int:
    text = str(label) if str(label) in names else str(label).strip()
    number = int(text) if re.fullmatch("[0-9]{1,9}", text) else -1
    named = names.index(text) if text in names and isinstance(label, str) else -1
    if not 0 <= number < len(names):
        number = named
    if number < 0:
        raise UsageError(f"--labels {_short(text)}: no such class; known are {listed(names)}.")
    if named not in (-1, number):
        logger.warning(
            f"--labels {text}: is class number {number}, which is called {_short(names[number])}; "
            f"the class that is called {text} has the number {named}."
        )
    return number


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
