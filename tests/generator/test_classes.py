import pytest

from vidgan.errors import UsageError
from vidgan.generator.classes import listed, numbers_of

NAMES = ("flags", "women", "old maps", "7", "1")


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        (["flags", "women"], [0, 1]),
        (["3", "0", "3"], [3, 0, 3]),
        ([2, 4], [2, 4]),
        ([" old maps", "flags "], [2, 0]),
        (["7"], [3]),  # of which the model has no such number
    ],
)
def test_a_class_has_a_number_and_a_name(labels, numbers, said):
    assert numbers_of(labels, NAMES) == numbers and not said


def test_what_is_a_number_and_another_name_is_the_number_and_that_is_said(said):
    assert numbers_of(["1"], NAMES) == [1] and numbers_of([1], NAMES) == [1]
    assert len(said) == 1 and "women" in said[0] and "has the number 4" in said[0]


@pytest.mark.parametrize("label", ["flag", "5", "-1", 5, -1, "", "9" * 5000, "1.0", "\u0663"])
def test_an_unknown_class_is_refused_with_the_list(label):
    with pytest.raises(UsageError, match="no such class; known are 0 flags, 1 women, 2 old maps"):
        numbers_of([0, label], NAMES)


def test_a_model_without_classes_takes_no_labels():
    assert numbers_of([], ()) == []
    with pytest.raises(UsageError, match="trained without classes"):
        numbers_of([0], ())


def test_a_long_list_of_long_names_stays_a_line():
    names = ["x" * 300] * 1000
    assert len(listed(names)) < 1000 and listed(names).endswith(", and 980 more")
    assert listed(NAMES, [4, 0]) == "4 1, 0 flags"
