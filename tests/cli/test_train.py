import pytest

from tests.conftest import vidgan
from tests.training.test_loop import newest_checkpoint, settings
from vidgan import config
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
    assert (
        any(line.endswith("trains on for 0:00:01 of 0:00:01.") for line in said) or before_s > 0.5
    )
    vidgan("train", "--resume", run)
    assert seen(run) == there and any("already trained for" in line for line in said)


def test_a_timed_run_that_was_stopped_goes_on_for_what_is_left(pictures, tmp_path, monkeypatch):
    how, saved = settings(pictures, duration_s=3.0, checkpoint_every_images=8), loop._save

    def save_and_stop(run):
        saved(run)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        loop.train(how, runs=tmp_path / "runs")
    monkeypatch.setattr(loop, "_save", saved)
    (run,) = (tmp_path / "runs").iterdir()
    vidgan("train", "--resume", run)
    times_s = [row.elapsed_s for row in logged(run)]
    assert times_s == sorted(times_s) and times_s[-1] >= 3  # it does not begin anew
    assert config.load(run / "config.toml").train.duration_s == 3.0


def test_a_resumed_run_knows_its_variety_before_the_next_samples(run, said):
    assert logged(run)[0].variety > 0
    vidgan("train", "--resume", run, "--for", "0.048k")
    assert all(row.variety > 0 for row in logged(run)) and len(logged(run)) > 2
    assert not any(line.startswith("collapse") for line in said)
    (run / "stats.jsonl").unlink()
    vidgan("train", "--resume", run, "--for", "0.064k")
    first, *_ = logged(run)
    assert first.variety is None  # not 0: that would be a collapse


def test_a_run_says_which_generator_it_keeps(pictures, tmp_path, said):
    run = loop.train(settings(pictures, images=16), runs=tmp_path)
    assert f"{run}: kept the last, at 16 images" in said
    assert "kept: the last generator" in (run / "report.html").read_text()
    run = loop.train(settings(pictures, images=48, distance_every_images=16), runs=tmp_path)
    (line,) = [line for line in said if line.startswith(f"{run}: kept the best, at ")]
    assert line.endswith(" of 48 images")
    assert sum(line.endswith("kept as the best so far") for line in said) >= 1
