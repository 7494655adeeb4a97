"""A share of `make fuzz`: thousands of hostile inputs for everything that vidgan reads."""

import random

import pytest

from tests.faults import fuzz
from tests.faults.hostile import KINDS
from tests.faults.mutations import mutated, mutated_tree
from tests.faults.zygote import Zygote


@pytest.fixture(scope="module")
def zygote():
    with Zygote() as zygote:
        yield zygote


@pytest.mark.faults
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_inputs_are_read_or_refused_in_one_line(tmp_path_factory, zygote, kind):
    folder = tmp_path_factory.mktemp("fuzz") / "kind"
    found = fuzz.fuzz(kind, zygote, folder, inputs=KINDS[kind].inputs, seed=0)
    assert found.faults == {}
    assert found.inputs == KINDS[kind].inputs and found.accepted


# Kind, seed and number of inputs that once were no line but a traceback, and that are not among
# those above.
FOUND = [("sound", 0, 1601), ("sound", 2, 340), ("npy", 0, 1539), ("onnx", 0, 573)]


@pytest.mark.faults
@pytest.mark.parametrize(("kind", "seed", "number"), FOUND)
def test_what_was_found_before_stays_mended(tmp_path_factory, zygote, kind, seed, number):
    folder = tmp_path_factory.mktemp("fuzz") / "kind"
    found = fuzz.fuzz(kind, zygote, folder, inputs=1, seed=seed, first=number)
    assert found.faults == {} and found.inputs == 1


def test_an_input_is_a_function_of_seed_and_number():
    for change in (
        lambda c: mutated(b"abc" * 99, [b"x"], c),
        lambda c: mutated_tree([{"a": 1}], c),
    ):
        made = [[repr(change(random.Random(n))) for n in range(50)] for _ in range(2)]
        assert made[0] == made[1] and len(set(made[0])) > 4
