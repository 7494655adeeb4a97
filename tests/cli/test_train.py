import re

import pytest

from tests.conftest import vidgan
from tests.training.test_loop import newest_checkpoint, settings
from vidgan import config
from vidgan.cli import train
from vidgan.quality import validation
from vidgan.training import loop
from vidgan.training.log import commands, logged


@pytest.fixture
def run(pictures, tmp_path, monkeypatch):
    """A run of 16 images."""
    monkeypatch.setattr(loop, "_LOG_EVERY_S", 0.0)
    return loop.train(settings(pictures, images=16), runs=tmp_path / "runs")


def seen(run):
    return int(newest_checkpoint(run).stem)


def test_a_resumed_run_keeps_its_settings_and_takes_up_what_its_last_command_said(run, said):
    made = (run / "config.toml").read_bytes()
    vidgan("train", "--resume", run)
    assert seen(run) == 16 and any("already seen 16 images" in line for line in said)
    vidgan("train", "--resume", run, "--for", "0.032k", "--no-stop", "--batch-size", 8, "--flip")
    assert seen(run) == 32 and any("trains on until it has seen 32 images" in line for line in said)
    assert (run / "config.toml").read_bytes() == made
    (first, second) = commands(run)
    assert (first.images, second.images, second.images_seen) == (16, 32, 16)
    assert not second.stop_past_best
    del said[:]
    vidgan("train", "--resume", run)
    assert any("already seen 32 images" in line for line in said)
    page = (run / "report.html").read_text()
    assert f"{first.command}\n" in page and "# from 16 images on" in page


def test_a_time_is_how_much_longer_a_resumed_run_goes_on_and_what_is_left_is_kept(run, said):
    before_s = logged(run)[-1].elapsed_s
    vidgan("train", "--resume", run, "--for", "1s")
    after_s, there = logged(run)[-1].elapsed_s, seen(run)
    assert there > 16 and before_s + 1 <= after_s
    assert any(line.endswith("trains on for 0:00:01.") for line in said)
    vidgan("train", "--resume", run)
    assert seen(run) == there and any("already trained for" in line for line in said)


def test_a_timed_run_that_was_stopped_goes_on_for_what_is_left(pictures, tmp_path, monkeypatch):
    how, saved = settings(pictures, duration_s=3.0, checkpoint_every_images=8), loop.save_run

    def save_and_stop(run):
        saved(run)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_run", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        loop.train(how, runs=tmp_path / "runs")
    monkeypatch.setattr(loop, "save_run", saved)
    (run,) = (tmp_path / "runs").iterdir()
    vidgan("train", "--resume", run)
    times_s = [row.elapsed_s for row in logged(run)]
    assert times_s == sorted(times_s) and times_s[-1] >= 3  # it does not begin anew
    assert config.load(run / "config.toml").train.duration_s == 3.0


def test_a_resumed_run_knows_no_variety_before_the_next_samples_and_reports_no_collapse(run, said):
    assert logged(run)[0].variety > 0
    vidgan("train", "--resume", run, "--for", "0.048k")
    of_samples = [row.variety for row in logged(run) if row.variety is not None]
    assert len(logged(run)) == 6 and len(of_samples) == 3 and min(of_samples) > 0
    assert not any(line.startswith("collapse") for line in said)
    (run / "stats.jsonl").unlink()
    vidgan("train", "--resume", run, "--for", "0.064k")
    first, *_ = logged(run)
    assert first.variety is None  # not 0: that would be a collapse


def test_numbers_stand_where_they_were_measured_the_last_ones_in_the_last_line(
    pictures, tmp_path, monkeypatch, said
):
    monkeypatch.setattr(loop, "_LOG_EVERY_S", 0.0)
    how = settings(pictures, images=40, distance_every_images=24)
    rows = logged(loop.train(how, runs=tmp_path))
    assert [row.images_seen for row in rows] == [8, 16, 24, 32, 40]
    found = [line.split()[1] for line in said if line.startswith("FD-Lite0-320")]
    shown = [row.distance and f"{row.distance:.1f}" for row in rows]
    assert said.count(validation.MEANING) == 1
    assert len(found) == 2 and shown == [None, None, found[0], found[0], found[1]]
    assert [row.recall is None for row in rows] == [True, True, False, False, False]
    assert [row.variety is None for row in rows] == [False, True, True, True, False]


def test_what_a_run_at_its_end_is_resumed_for_stands_in_the_last_line_too(run, pictures, said):
    before = (run / "stats.jsonl").read_text()
    loop.train(settings(pictures, images=16), runs=run.parent, resume=run)
    assert (run / "stats.jsonl").read_text() == before  # nothing new
    how = settings(pictures, images=16, distance_every_images=24)
    loop.train(how, runs=run.parent, resume=run)
    *_, last = logged(run)
    (line,) = [line for line in said if line.startswith("FD-Lite0-320")]
    assert line.startswith(f"FD-Lite0-320 {last.distance:.1f} at 16 images")


def test_a_run_says_which_generator_it_keeps(pictures, tmp_path, said):
    run = loop.train(settings(pictures, images=16), runs=tmp_path)
    assert f"{run}: kept the last, at 16 images" in said
    assert f"To look: vidgan pick --model {run}; or " in said[-1]
    assert "kept: the last generator" in (run / "report.html").read_text()
    run = loop.train(settings(pictures, images=48, distance_every_images=16), runs=tmp_path)
    best = "best, at (16|32) images of 48 seen|best and last, at 48 images"
    assert sum(bool(re.fullmatch(f"{run}: kept the ({best})", line)) for line in said) == 1
    kept = [line.rpartition("; ")[2] for line in said if "; kept as" in line]
    assert kept[0] == "kept as the first that was measured"
    assert set(kept[1:]) <= {"kept as the best so far"}
    run = loop.train(settings(pictures, images=20), runs=tmp_path)
    assert f"{run}: kept the last, at 24 images (20, rounded up to whole steps of 8)" in said


@pytest.mark.parametrize(
    ("ratio", "sides"),
    [
        *(("16:9", (128, 72)), ("9:16", (72, 128)), ("4:5", (64, 80)), ("1:1", (64, 64))),
        *(("4:3", (96, 72)), ("3:2", (96, 64)), ("1.85:1", (104, 56)), ("4:1", (256, 64))),
    ],
)
def test_a_ratio_becomes_sides_that_can_be_trained_and_they_are_said(ratio, sides, capsys):
    assert train._size(ratio) == sides
    assert f"{ratio}: trains on {sides[0]}x{sides[1]} pixels" in capsys.readouterr().err
    config.ModelConfig(width=sides[0], height=sides[1])  # which refuses what cannot be trained
