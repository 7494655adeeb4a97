import numpy as np
import pytest

from vidgan.errors import ConfigError, UsageError
from vidgan.latent.directions import Slider, parsed, sliders
from vidgan.latent.paths import Keyframes, Path

V = np.arange(1, 5, dtype=np.float64)


def path(*strengths: float, closed: bool = True) -> Path:
    keyframes = Keyframes(z_dim=4, count=3, seed=1)
    return Path(
        kind="loop", keyframes=keyframes, frames=8, closed=closed, sliders=[Slider(V, strengths)]
    )


def moved(*strengths: float, closed: bool = True) -> np.ndarray:
    """How far each frame is moved along V."""
    change = path(*strengths, closed=closed).latents(0, 8) - path(0, closed=closed).latents(0, 8)
    along = change @ V / (V @ V)
    assert np.allclose(change, along[:, None] * V, atol=1e-5)
    return along


def test_an_option_names_directions_and_strengths():
    asked = parsed("brighter=-2..2,warmer=1, light-left=0..1.5..0")
    assert asked == {"brighter": [-2, 2], "warmer": [1], "light-left": [0, 1.5, 0]}
    for wrong in ("brighter", "brighter=", "brighter=a", "=", "brighter=1..", ""):
        with pytest.raises(UsageError, match="--direction"):
            parsed(wrong)


def test_one_strength_moves_all_frames_as_far():
    assert np.allclose(moved(1.5), 1.5, atol=1e-5)


def test_a_range_is_gone_through_and_back_in_a_loop():
    there = moved(-2, 2)
    assert there[0] == pytest.approx(-2) and there[4] == pytest.approx(2)
    assert np.allclose(there[1:4], there[:4:-1], atol=1e-5)


def test_a_range_ends_at_its_end_where_the_film_does():
    there = moved(-2, 2, closed=False)
    assert there[[0, -1]] == pytest.approx([-2, 2]) and (np.diff(there) > 0).all()


def test_a_frame_is_moved_the_same_whoever_asks_for_it():
    whole = path(-2, 2).latents(0, 8)
    assert np.array_equal(whole[5:6], path(-2, 2).latents(5, 6))


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "a", "strengths": [1]},
        {"name": "a", "strengths": [], "vector": [1, 2, 3, 4]},
        {"name": "a", "strengths": [1], "vector": [1, 2, 3]},
        {"name": "a", "strengths": [1], "vector": [1, 2, 3, None]},
        {"name": "a", "strengths": [float("nan")], "vector": [1, 2, 3, 4]},
        {"name": "a", "strengths": [1], "vector": [1, 2, 3, 1e9]},
        {"name": "a", "strengths": [True], "vector": [1, 2, 3, 4]},
        7,
    ],
)
def test_a_walk_with_a_wrong_direction_is_refused_in_a_line(entry):
    with pytest.raises(ConfigError, match=r"^directions"):
        sliders([entry], 4)
