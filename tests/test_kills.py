"""A quick share of `make soak`: a few random SIGKILLs for everything that vidgan writes."""

import pytest

from tests.faults import kills
from tests.faults.killed import INPUTS, KINDS, make_inputs
from tests.faults.zygote import Zygote

pytestmark = pytest.mark.faults
KILLS = 2  # of each kind; `python -m tests.faults.kills` does hundreds


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    make_inputs(folder / INPUTS)
    with Zygote() as zygote:
        yield folder, zygote


@pytest.mark.parametrize("name", KINDS)
def test_what_is_killed_at_random_ends_as_if_nobody_had_killed_it(place, name):
    folder, zygote = place
    counts = kills.survive(KINDS[name], zygote, folder / name, kills=KILLS, seed=0)
    assert counts["kills"] == KILLS and counts["ends"]
