import json
import shutil
import threading

import pytest

from tests.conftest import contents
from tests.films import noise, write
from tests.training.test_loop import newest_checkpoint, same_runs, same_weights, settings
from tests.waiting import wait_until
from vidgan.data import cache
from vidgan.errors import UsageError
from vidgan.generator import checkpoint
from vidgan.training import log, loop
from vidgan.training.live import View
from vidgan.training.log import changes, logged

KEPT = {"checkpoint_every_images": 40, "keep_checkpoints": 9}


@pytest.fixture(autouse=True)
def a_line_for_each_step(monkeypatch):
    monkeypatch.setattr(loop, "_LOG_EVERY_S", 0.0)


class Asking(log.Show):
    """A viewer that asks for something when the run has seen so many images: {images: asked}."""

    def __init__(self, asks):
        self._asks = dict(asks)

    def begins(self, folder):
        self.view = View(folder)

    def training(self, now, share):
        if asked := self._asks.pop(now.images_seen, None):
            self.view.ask(json.dumps(asked))


def turn(**to):
    return {"do": "turn", "to": to}


def trained(source, runs, *, asks=None, resume=None, **keys):
    how = settings(source, **{"images": 160, **KEPT, **keys})
    return loop.train(how, runs=runs, resume=resume, show=Asking(asks or {}))


RATES = turn(learning_rate_g=1e-3, learning_rate_d=5e-4)
WAYS = {  # what is asked for takes effect one step, of 8 images, later
    "rates": ({}, {32: RATES, 96: turn(learning_rate_d=1e-4)}),
    "where a checkpoint is": ({}, {72: RATES, 112: turn(learning_rate_d=1e-4)}),
    "augmentation": ({}, {32: turn(augment_p=0), 96: turn(augment_p=1)}),
    "ada": ({"augment": "ada"}, {32: turn(augment_p=0.5), 96: turn(augment_p=-1)}),
    "gamma": ({"model": {"name": "r3gan"}}, {32: turn(r1=5, r2=5), 96: turn(r1=0.5, r2=0)}),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_steered_run_that_is_resumed_from_anywhere_ends_in_bitwise_the_same_weights(
    pictures, tmp_path, way
):
    keys, asks = WAYS[way]
    run = trained(pictures, tmp_path, asks=asks, **keys)
    turned = changes(run)
    assert [change.images_seen for change in turned] == [at + 8 for at in asks]
    assert turned[0].knobs.given == asks[min(asks)]["to"]
    if way == "rates":
        assert turned[1].knobs.given == RATES["to"] | {"learning_rate_d": 1e-4}  # all of now
        alone = trained(pictures, tmp_path, **keys)
        weights = [checkpoint.read(newest_checkpoint(each))[0] for each in (run, alone)]
        assert not same_weights(*weights)  # it did something
    for at in (40, 80, 120):
        again = tmp_path / f"killed-{at}"
        shutil.copytree(run, again)
        for path in (again / "checkpoints").iterdir():
            if int(path.stem) > at:
                path.unlink()
        trained(pictures, tmp_path, resume=again, **keys)
        assert same_runs(run, again), at
        assert changes(again) == turned  # nothing is noted twice


def test_a_change_in_steps_done_again_replaces_those_after_it(pictures, tmp_path):
    run = trained(pictures, tmp_path, asks={112: RATES})
    for path in (run / "checkpoints").iterdir():
        if int(path.stem) > 80:
            path.unlink()
    wanted = {88: turn(learning_rate_g=1e-5)}
    trained(pictures, tmp_path, resume=run, asks=wanted)
    assert [(c.images_seen, c.knobs.given) for c in changes(run)] == [(96, wanted[88]["to"])]
    assert same_runs(run, trained(pictures, tmp_path, asks=wanted))


def test_a_branch_is_a_run_that_goes_on_as_the_first_one_does(pictures, tmp_path):
    asks = {40: RATES, 72: {"do": "branch"}}
    run = trained(pictures, tmp_path / "runs", asks=asks, distance_every_images=32)
    first, branch = sorted((tmp_path / "runs").iterdir())
    assert run == first and branch.name == "00001-pictures-dcgan32"
    assert (branch / "best.safetensors").exists() and (branch / "reals.png").exists()
    assert not (branch / "live").exists() and not (branch / "lock.owner").exists()
    assert [int(path.stem) for path in (branch / "checkpoints").iterdir()] == [80]
    assert logged(branch)[-1].images_seen in (72, 80) and len(changes(branch)) == 1
    before = contents(run)
    trained(pictures, tmp_path, resume=branch, distance_every_images=32)
    assert same_runs(run, branch) and contents(run) == before


def test_a_run_that_is_asked_to_stop_ends_well_and_can_be_continued(pictures, tmp_path, said):
    run = trained(pictures, tmp_path, asks={72: {"do": "stop"}})
    assert int(newest_checkpoint(run).stem) in (80, 88)
    assert (run / "generator.safetensors").exists() and (run / "progress.mp4").exists()
    assert not (run / "live").exists()
    assert f"Stopped. To continue: vidgan train --resume {run}" in said
    trained(pictures, tmp_path, resume=run)
    assert same_runs(run, trained(pictures, tmp_path))


def test_a_paused_run_waits_makes_single_steps_and_does_not_age(pictures, tmp_path, said):
    show, held = Asking({40: {"do": "pause"}}), []

    def someone():
        wait_until(lambda: getattr(show, "view", None) is not None)
        run = show.view._run
        wait_until(lambda: (show.view._now() or {}).get("paused"))
        wait_until(lambda: logged(run)[-1].images_seen == 48)
        for _ in range(2):
            seen = logged(run)[-1].images_seen
            held.append(seen)
            show.view.ask('{"do": "step"}')
            wait_until(lambda seen=seen: logged(run)[-1].images_seen > seen)
        held.append(logged(run)[-1].images_seen)
        show.view.events("").__next__()  # which looks
        wait_until((run / "live" / "believed.png").exists)
        show.view.ask(json.dumps(turn(learning_rate_g=1e-3)))
        show.view.ask('{"do": "go"}')

    thread = threading.Thread(target=someone)
    thread.start()
    how = settings(pictures, images=160)
    run = loop.train(how, runs=tmp_path, show=show)
    thread.join()
    assert said.count(f"paused on its page; to go on: vidgan live {run}") == 1
    assert held == [48, 56, 64]
    assert [change.images_seen for change in changes(run)] == [64]
    assert logged(run)[-1].images_seen == 160
    rows = {row.images_seen: row.elapsed_s for row in logged(run)}
    assert rows[72] - rows[64] < 1 and sorted(rows.values()) == list(rows.values())


def test_a_run_is_steered_on_while_the_rest_of_its_film_arrives(tmp_path, monkeypatch):
    film = write(tmp_path / "film.mp4", noise(40), scale=2)
    monkeypatch.setattr(cache, "_LONG", 20)
    monkeypatch.setattr(cache, "_SOME", 4)
    decoded, held = threading.Event(), []
    monkeypatch.setattr(cache.Later, "is_there", lambda later: decoded.is_set())
    show = Asking({8: {"do": "branch"}, 16: {"do": "pause"}})

    def someone():
        wait_until(lambda: getattr(show, "view", None) is not None)
        run = show.view._run
        wait_until(lambda: (show.view._now() or {}).get("paused"))
        wait_until(lambda: logged(run)[-1].images_seen == 24)
        decoded.set()
        for _ in range(3):  # in the first part, in the second and there again
            held.append(logged(run)[-1].images_seen)
            show.view.ask('{"do": "step"}')
            wait_until(lambda: logged(run)[-1].images_seen > held[-1])
        now = show.view._now()
        held.append((now["paused"], len(now["branches"])))
        show.view.ask('{"do": "go"}')

    thread = threading.Thread(target=someone)
    thread.start()
    run = loop.train(settings(film, images=80, duration_s=600), runs=tmp_path / "runs", show=show)
    thread.join()
    assert held == [24, 32, 40, (True, 1)] and logged(run)[-1].images_seen == 80
    assert not (run / "live").exists()


def test_what_a_run_does_not_have_cannot_be_turned(pictures, tmp_path):
    told = []

    class Wrong(Asking):
        def training(self, now, share):
            if now.images_seen == 16:
                with pytest.raises(UsageError, match="has no r1 to turn"):
                    self.view.ask(json.dumps(turn(r1=3)))
                lines = (
                    b'{"do": "turn", "to": {"r1": 3.0}}\nnonsense\n{"do": "dance"}\n\xff\n[]\n7\n'
                )
                (self.view._run / "live" / "asked.jsonl").write_bytes(lines)  # of another program
            told.append(self.view._now()["knobs"])

    run = loop.train(settings(pictures, images=64), runs=tmp_path, show=Wrong({}))
    assert changes(run) == [] and told[-1].keys() == {
        "learning_rate_g",
        "learning_rate_d",
        "augment_p",
    }
