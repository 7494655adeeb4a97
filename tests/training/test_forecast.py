from vidgan import config
from vidgan.training.forecast import DETAIL, SHAPES, forecast

SQUARE = {"width": 64, "height": 64}


def line(images_seen=1000, images_per_s=100.0, *, ends=True, **train):
    settings = config.from_dict({"model": SQUARE, "train": train})
    return forecast(settings, images_seen, images_seen / 100, images_per_s, ends=ends)


def test_shapes_and_detail_come_when_their_images_are_seen():
    assert "rough shapes after about 100 seconds, detail after about 50 minutes" in line()
    assert "shapes" not in line(SHAPES, ends=False) and "detail" in line(SHAPES, ends=False)
    assert line(DETAIL, ends=False) == "About 100 images/s here."


def test_without_a_limit_it_says_when_the_run_ends_and_that_stopping_is_safe():
    assert "This run ends after 5.6 hours, at about 2,000,000 images" in line()
    assert line().endswith("Ctrl-C stops it at any time and keeps what it has learned.")


def test_a_wish_that_the_time_does_not_meet_gets_one_suggestion():
    assert "at about 5,000 images, before that; for shapes try --for 2m, or --size 32x32" in line(
        duration_s=50
    )
    assert "--size 48x48" in line(duration_s=60) and "--size" not in line(duration_s=20)
    assert "try" not in line(duration_s=600)
    assert "for shapes try --for 3h." in line(0, 1.0, duration_s=60)


def test_the_end_of_a_run_is_that_which_was_asked_for():
    for asked_s, said in ((80, "80 seconds"), (600, "10 minutes"), (9000, "2.5 hours")):
        assert f"This run ends after {said}," in line(duration_s=asked_s)
