import errno
import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.films import write
from tests.sounds import write_sound
from vidgan.errors import DataError, SystemFault, UsageError
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


def write_bands(path, *, hz=(80, 1000, 8000), long_s=1.0):
    """One tone after the other, each `long_s` long and as loud, of those frequencies."""
    t = np.arange(round(long_s * 44_100)) / 44_100
    swell = np.minimum(1, 20 * np.minimum(t, long_s - t))  # a click would be of all frequencies
    tones = np.concatenate([0.3 * swell * np.sin(2 * np.pi * f * t) for f in hz])
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 44_100, 0, "NONE", ""))
        file.writeframes((tones * 32767).astype("<i2").tobytes())
    return path


@pytest.mark.parametrize(("band", "place"), [("bass", 0), ("voice", 1), ("treble", 2)])
def test_a_band_hears_only_what_lies_in_it(band, place, tmp_path):
    drive = sound.listen(write_bands(tmp_path / "song.wav"), Fraction(30), follow=(band,))
    thirds = [third[5:-5].mean() for third in np.split(drive.loudness, 3)]
    assert thirds[place] > 0.9 and sum(thirds) < thirds[place] + 0.1
    assert np.argmax([third.max() for third in np.split(drive.beat[2:], [28, 58])]) == place


def test_only_a_part_is_heard(tmp_path):
    song = write_bands(tmp_path / "song.wav")
    drive = sound.listen(song, Fraction(10), part=(1, 2), follow=("bass",))
    assert len(drive.speed) == 10 and drive.loudness.max() < 0.1
    assert len(sound.listen(song, Fraction(10), part=(1.5,)).speed) == 15
    for wrong, says in (((2, 9), "is only 3.0 s"), ((5,), "is only 3.0 s"), ((2, 1), "later one")):
        with pytest.raises(UsageError, match=says):
            sound.listen(song, Fraction(10), part=wrong)


def pitches(film):
    """The strongest frequency of each half second of a film's sound."""
    with av.open(str(film)) as container:
        mono = av.AudioResampler("flt", "mono", 48_000)
        parts = [p.to_ndarray()[0] for f in container.decode(audio=0) for p in mono.resample(f)]
    halves = np.concatenate(parts)[: 48_000 * 10]
    halves = halves[: len(halves) // 24_000 * 24_000].reshape(-1, 24_000)
    return [round(2 * float(np.argmax(np.abs(np.fft.rfft(half)))), -1) for half in halves]


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mov", ".mkv"])
def test_a_film_plays_the_part_that_it_moves_to(suffix, tmp_path):
    song = write_bands(tmp_path / "song.wav", hz=(80, 1000, 8000, 440))
    frames = [np.zeros((64, 64, 3), np.uint8)] * 20
    film = write(tmp_path / f"film{suffix}", frames, fps=10, sound=song, sound_from_s=1.0)
    assert pitches(film)[:4] == [1000, 1000, 8000, 8000] and len(pitches(film)) <= 5


def test_strength_smoothing_and_what_is_followed_shape_the_movement(tmp_path):
    song = write_sound(tmp_path / "song.wav")
    usual = sound.listen(song, Fraction(30))
    none, twice = (sound.listen(song, Fraction(30), strength=s) for s in (0, 2))
    assert np.ptp(none.speed) == 0 and np.ptp(none.gain) == 0
    assert np.ptp(twice.speed) == pytest.approx(2 * np.ptp(usual.speed))
    beat, loudness = (sound.listen(song, Fraction(30), follow=(f,)) for f in ("beat", "loudness"))
    assert np.ptp(beat.gain) == 0 and np.array_equal(loudness.gain, usual.gain)
    assert np.allclose(beat.speed + loudness.speed - 0.25, usual.speed)
    smooth, sharp = (sound.listen(song, Fraction(30), smoothing=s) for s in (1, 0))
    steepest = [np.abs(np.diff(one.loudness)).max() for one in (smooth, usual, sharp)]
    assert steepest == sorted(steepest) and steepest[2] > 2 * steepest[0]
    lasting = [(one.beat > 0.3).sum() for one in (sharp, usual, smooth)]
    assert lasting == sorted(lasting) and lasting[2] > 2 * lasting[1] > 2 * lasting[0]
    for wrong in ({"follow": ("drums",)}, {"follow": ("bass", "voice")}, {"strength": -1}):
        with pytest.raises(UsageError, match="--audio-"):
            sound.listen(song, Fraction(30), **wrong)


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
