import json
from dataclasses import asdict, replace

import pytest

from vidgan import config
from vidgan.errors import SystemFault
from vidgan.training.log import Log, Progress, changes, commands, continued, logged, note_command

ROW = Progress(
    **dict.fromkeys(Progress.__dataclass_fields__, 0.5) | {"images_seen": 8, "flags": ("decline",)}
)


def line(**changes):
    return json.dumps(asdict(ROW) | changes).encode() + b"\n"


DAMAGED = {
    "not UTF-8": b"\xff\xfe\x00{}\n",
    "another table": b'{"epoch": 3}\n',
    "a list": b"[1, 2]\n",
    "lists": b"[" * 100_000 + b"\n",
    "a number as text": line(loss_g="low"),
    "no number": line(loss_g=float("nan")),
    "a number beyond numbers": line(loss_g=1.5).replace(b"1.5", b"1e999"),
    "images as a fraction": line(images_seen=8.5),
    "images without end": line(images_seen=0).replace(b"0", b"9" * 400, 1),
    "flags of another kind": line(flags=7),
    "cut": line()[:30],
}


@pytest.mark.parametrize("way", DAMAGED)
def test_a_line_that_is_damaged_is_left_out_with_one_warning_and_takes_no_other_with_it(
    way, tmp_path, said
):
    (tmp_path / "stats.jsonl").write_bytes(line(images_seen=1) + DAMAGED[way])
    log = Log(tmp_path, writes=True)
    log.write(ROW)
    log.close()
    assert [row.images_seen for row in logged(tmp_path)] == [1, 8]
    assert log.flags == {"decline"} and log.varieties == [0.5]
    (warning,) = said
    assert "stats.jsonl: left out what cannot be read in it (lines: 1)" in warning


def test_steps_that_were_done_again_appear_once(tmp_path):
    seen = [8, 16, 24, 32, 16, 24, 24]
    content = b"".join(line(images_seen=n, loss_d=i / 2) for i, n in enumerate(seen))
    (tmp_path / "stats.jsonl").write_bytes(content)
    assert [(r.images_seen, r.loss_d) for r in logged(tmp_path)] == [
        (8, 0.0), (16, 2.0), (24, 3.0)
    ]  # fmt: skip


def test_what_was_not_measured_is_null_and_no_point_of_tensorboard(tmp_path):
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    log = Log(tmp_path, writes=True)
    for images, distance in ((8, None), (16, 0.0)):  # 0 is the best distance
        log.write(replace(ROW, images_seen=images, distance=distance, recall=None))
    log.close()
    first, second = map(json.loads, (tmp_path / "stats.jsonl").read_text().splitlines())
    assert (first["distance"], second["distance"], second["recall"]) == (None, 0, None)
    assert [row.distance for row in logged(tmp_path)] == [None, 0]
    events = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("distance")] == [(16, 0)]
    assert "recall" not in events.Tags()["scalars"]


def test_a_log_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "stats.jsonl").mkdir()
    with pytest.raises(SystemFault, match=r"stats\.jsonl: cannot be written"):
        Log(tmp_path, writes=True)


def test_the_last_command_says_how_long_a_run_goes_on(tmp_path, said):
    made = config.from_dict({"model": {"colours": 3}, "train": {"images": 100, "seed": 3}})
    assert continued(tmp_path, made) == made and commands(tmp_path) == []
    for command, images in (("vidgan train", 100), ("vidgan train --for 300", 300)):
        how = config.from_dict({"train": {"images": images, "stop_past_best": False}})
        note_command(tmp_path, command, how, images_seen=0)
    with (tmp_path / "commands.jsonl").open("ab") as file:
        file.write(b'{"command": 7}')
    now = continued(tmp_path, made).train
    assert (now.images, now.stop_past_best, now.seed) == (300, False, 3)
    assert sum("commands.jsonl: left out" in line for line in said) == 1
    note_command(tmp_path, "vidgan", made, images_seen=0)
    assert [c.command for c in commands(tmp_path)] == [
        "vidgan train",
        "vidgan train --for 300",
        "vidgan",
    ]


def test_changes_are_lines_of_their_own_and_damaged_ones_are_left_out(tmp_path, said):
    def change(**facts):
        return json.dumps({"images_seen": 16, "knobs": {"r1": 5.0}} | facts).encode() + b"\n"

    good = line() + change() + change(images_seen=24, knobs={"augment_p": -1.0}) + change()
    bad = [{"r1": -1.0}, {"r1": "x"}, {"r1": float("nan")}, {"images": 3.0}, 7, {"augment_p": 2.0}]
    damaged = b"".join(change(images_seen=99, knobs=knobs) for knobs in bad)
    (tmp_path / "stats.jsonl").write_bytes(good + damaged)
    Log(tmp_path, writes=True).close()
    (found,) = changes(tmp_path)  # the last one was made in steps done again
    assert (found.images_seen, found.knobs.given) == (16, {"r1": 5.0})
    assert [row.images_seen for row in logged(tmp_path)] == [8]
    assert said and f"(lines: {len(bad)})" in said[0]
