import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import vidgan
from tests.render.test_walk import Painter
from tests.sounds import write_sound
from vidgan.render import plot
from vidgan.render.chapters import Chapters
from vidgan.render.walk import Walk


def heights(picture, number):
    """How high curve `number` is, from 0 to 1, at each column of pixels."""
    row = plot._HEIGHT + 2 * plot._MARGIN
    top = number * row + plot._MARGIN
    blue = (picture[top : top + plot._HEIGHT, plot._MARGIN : -plot._MARGIN] == (52, 101, 164)).all(
        2
    )
    return blue.mean(0)


def test_a_walk_that_holds_stands_still_in_the_plot():
    bound = Walk(path="lerp", hold=0.5, keyframes=3, frames=90).bind(Painter())
    (speed,) = np.split(heights(plot.plot(bound), 0), 1)
    thirds = speed.reshape(3, -1)
    assert (thirds[:, :60] < 0.02).all() and (thirds[:, 180:200] > 0.2).all()


def test_the_plot_shows_where_the_sound_is_loud(tmp_path):
    song = write_sound(tmp_path / "song.wav", duration_s=2)  # a stroke in the middle
    picture = plot.plot(Walk(audio=str(song)).bind(Painter()))
    assert picture.dtype == np.uint8 and picture.shape[1] == 1200
    for number in range(3):  # speed, loudness, beats
        curve = heights(picture, number)
        half = len(curve) // 2
        assert curve[half + 10 : half + 80].mean() > 3 * curve[: half - 80].mean()


def test_the_plot_of_chapters_shows_one_after_the_other():
    still = Walk(path="lerp", frames=30, keyframes=[{"seed": 1, "index": 0}] * 3, z_dim=6)
    moving = Walk(frames=60)
    film = Chapters([one.bind(Painter()) for one in (still, moving)])
    speed = heights(plot.plot(film), 0)
    assert (speed[: len(speed) // 3 - 20] < 0.02).all() and (
        speed[len(speed) // 3 + 40 :] > 0.1
    ).all()


@pytest.mark.parametrize("frames", [1, 2, 5000])
def test_any_number_of_frames_has_a_plot(frames):
    assert plot.plot(Walk(frames=frames).bind(Painter())).any()


def test_the_command_draws_it_and_replaces_none(model_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["render", "--model", model_file, "--frames", "3", "--plot", "plot.png"]
    vidgan(*words, "a.mp4")
    with Image.open("plot.png") as picture:
        assert picture.size == (1200, 210)
    done = subprocess.run(
        [sys.executable, "-m", "vidgan", *map(str, words), "b.mp4"], capture_output=True, text=True
    )
    assert done.returncode == 2 and "plot.png" in done.stderr and not (tmp_path / "b.mp4").exists()


def test_an_hour_of_a_microphone_takes_little_memory(tmp_path):
    """Of the sound, two numbers per 23 ms are kept, and two per frame."""
    code = (
        "import resource, sys, wave\n"
        "from fractions import Fraction\n"
        "from vidgan.film import sound\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "sizes = []\n"
        "for seconds in (60, 3600):\n"
        "    with wave.open('song.wav', 'wb') as file:\n"
        "        file.setparams((1, 2, 8000, 0, 'NONE', ''))\n"
        "        for _ in range(seconds):\n"
        "            file.writeframes(b'\\x00\\x01\\x00\\x02' * 4000)\n"
        "    assert len(sound.listen(sound.Path('song.wav'), Fraction(30)).speed) == 30 * seconds\n"
        "    sizes.append(peak())\n"
        "print(sizes[1] - sizes[0])\n"
    )
    done = subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path, text=True)
    assert int(done) < 30_000  # kB; the hour itself is 58 MB as it is, and 635 MB as float64
