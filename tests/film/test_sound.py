import errno
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.films import write
from tests.sounds import write_sound
from vidgan.errors import DataError, SystemFault
from vidgan.film import sound
from vidgan.film.target import Target


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".flac"])
def test_a_stroke_moves_the_frame_where_it_sounds(suffix, tmp_path):
    drive = sound.listen(write_sound(tmp_path / f"song{suffix}"), fps=Fraction(30))
    assert len(drive.speed) == len(drive.gain) == 60
    assert abs(int(np.argmax(np.diff(drive.speed))) + 1 - 30) <= 1
    assert drive.speed[30:34].mean() > 4 * drive.speed[:25].mean()
    assert drive.gain[32] > 0.85 and drive.gain[10] < 0.7 and drive.gain.max() <= 1


def test_the_same_sound_gives_the_same_timing_from_0_to_1(tmp_path):
    song = write_sound(tmp_path / "song.wav")
    one, two = (sound.listen(song, fps=Fraction(30)) for _ in range(2))
    assert np.array_equal(one.speed, two.speed) and np.array_equal(one.gain, two.gain)
    table = one.timing(60)
    assert len(table) == 61 and table[0] == 0 and table[-1] == 1 and (np.diff(table) > 0).all()


def test_silence_moves_evenly(tmp_path):
    drive = sound.listen(write_sound(tmp_path / "song.wav", level=0), fps=Fraction(30))
    assert np.ptp(drive.speed) == 0 and np.ptp(drive.gain) == 0


@pytest.mark.parametrize("duration_s", [0.01, 0.4, 1.0, 2.02])
@pytest.mark.parametrize("fps", [Fraction(25), Fraction(24000, 1001)])
def test_there_are_as_many_frames_as_the_sound_is_long(duration_s, fps, tmp_path):
    drive = sound.listen(write_sound(tmp_path / "song.wav", duration_s=duration_s), fps=fps)
    assert len(drive.speed) == max(1, round(duration_s * fps))


def test_sound_beyond_the_last_frame_is_cut_so_that_both_end_together(tmp_path):
    song = write_sound(tmp_path / "song.wav", duration_s=2.4)
    frames = [np.zeros((64, 64, 3), np.uint8)] * len(sound.listen(song, fps=Fraction(1)).speed)
    write(tmp_path / "film.mp4", frames, fps=1, sound=song)
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert [stream.duration * stream.time_base for stream in container.streams] == [2, 2]


def test_a_failure_while_sound_is_put_in_leaves_nothing(tmp_path, monkeypatch):
    film = write(tmp_path / "film.mp4", [np.zeros((64, 64, 3), np.uint8)])
    song = write_sound(tmp_path / "song.wav")

    def full(part, comment):
        assert part.is_file()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sound.xmp, "append_mark", full)
    with pytest.raises(SystemFault, match="No space left"):
        sound.add_sound(film, song, Target.parse(film))
    assert sorted(tmp_path.iterdir()) == [film, song]


def test_a_sound_that_changes_its_rate_is_heard_up_to_there_or_refused_in_one_line(tmp_path):
    one, other = (
        write_sound(tmp_path / f"{rate}.mp3", rate=rate).read_bytes() for rate in (44_100, 22_050)
    )
    both = tmp_path / "both.mp3"
    both.write_bytes(one + other)
    assert len(sound.listen(both, fps=Fraction(30)).speed) >= 60
    wav = write_sound(tmp_path / "song.wav")
    content = bytearray(wav.read_bytes())
    content[24:28] = (2**31 - 1).to_bytes(4, "little")  # the rate
    wav.write_bytes(content)
    with pytest.raises(DataError, match=r"song\.wav: cannot be used as sound"):
        sound.listen(wav, fps=Fraction(30))
