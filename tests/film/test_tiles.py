import numpy as np
import pytest

from vidgan.errors import UsageError
from vidgan.film.tiles import numbered

SEVENTEEN = """
.........
..#..###.
.##....#.
..#...#..
..#...#..
.###..#..
.........
"""


def test_a_number_stands_in_the_corner_of_its_picture_and_nowhere_else():
    pictures = np.full((100, 64, 64, 3), 100, np.uint8)
    marked = numbered(pictures, range(100))
    assert (pictures == 100).all()
    corner = marked[17, :14:2, :18:2, 0]
    assert SEVENTEEN.split() == ["".join(".#"[int(x)] for x in row // 255) for row in corner]
    marked[:, :14, :18] = 100
    assert (marked == 100).all()


def test_all_digits_differ():
    corners = numbered(np.zeros((10, 32, 32, 3), np.uint8), range(10))
    assert len({corner.tobytes() for corner in corners}) == 10


def test_a_long_number_is_drawn_smaller_or_refused():
    marked = numbered(np.zeros((1, 64, 64, 3), np.uint8), [123456789012345])
    assert marked[0, :7].any() and not marked[0, 7:].any()
    with pytest.raises(UsageError, match="18446744073709551615 has no room"):
        numbered(np.zeros((1, 64, 64, 3), np.uint8), [2**64 - 1])
