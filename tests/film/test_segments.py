import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.films import decoded, fill, film_writer, noise, run_python, write
from tests.waiting import children, wait_until
from vidgan.errors import SystemFault, UsageError
from vidgan.film import segments
from vidgan.film.segments import Film, Share
from vidgan.film.writer import VideoWriter

FRAMES, SEGMENT = 60, 7
JOINED, PUBLISHED = 1000, 1001  # kill points after the last frame
PICTURES = noise(FRAMES)


def film_of(target: Path, kind=VideoWriter, *, frames: int = FRAMES, seed=5, **settings) -> Film:
    writer = film_writer(target, kind=kind, scale=1, force=True, comment={"seed": 5})
    settings = {"segment_frames": SEGMENT, "key": {"seed": seed}} | settings
    return Film(writer, frames=frames, **settings)


def write_film(target: Path, kind=VideoWriter, **settings) -> Path:
    film = film_of(target, kind, **settings)
    with film.made():
        for piece in film.missing():
            fill(film, piece, PICTURES)
    return target


def start_rank(target: Path, rank: int, launch: str = "", **settings) -> threading.Thread:
    settings |= {"share": Share(rank, 2, launch)}
    thread = threading.Thread(target=write_film, args=(target,), kwargs=settings, daemon=True)
    thread.start()
    return thread


def ended(*threads: threading.Thread) -> bool:
    for thread in threads:
        thread.join(20)
    return not any(thread.is_alive() for thread in threads)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def then_die(function):
    def both(*arguments, **settings):
        function(*arguments, **settings)
        die()

    return both


def run_to_death(code: str, folder: Path) -> None:
    """Run code, in a process of its own, that is killed while it runs."""
    with pytest.raises(subprocess.CalledProcessError) as death:
        run_python(f"from tests.film.test_segments import *\n{code}", folder)
    assert death.value.returncode == -signal.SIGKILL


def render_until(kill: int, target: Path, *, resume: bool) -> None:
    """Render until so many frames are written, or one of the points after the last."""

    class Killed(VideoWriter):
        numbers = itertools.count(1)

        def write(self, frame):
            super().write(frame)
            if next(self.numbers) == kill:
                die()

    if kill == JOINED:
        segments.join = then_die(segments.join)
    if kill == PUBLISHED:
        segments.publish = then_die(segments.publish)
    write_film(target, Killed, resume=resume)


def render_killed(target: Path, *, kill: int, resume: bool = False) -> None:
    run_to_death(f"render_until({kill}, Path({str(target)!r}), resume={resume})", target.parent)


def test_a_killed_render_resumes_to_the_frames_of_one_never_killed(tmp_path):
    wanted = write_film(tmp_path / "wanted.mp4")
    frames, content = decoded(wanted), wanted.read_bytes()
    points = random.Random(0).sample(range(1, FRAMES + 1), 20)
    for number, kill in enumerate(points):
        target = tmp_path / f"out{number}.mp4"
        render_killed(target, kill=kill)
        assert not target.exists() and segments.folder_of(target).exists()
        written = []

        class Counting(VideoWriter):
            def write(self, frame, written=written):
                written.append(1)
                super().write(frame)

        write_film(target, Counting, resume=True)
        assert np.array_equal(decoded(target), frames)
        assert target.read_bytes() == content
        whole = (kill - 1) // SEGMENT * SEGMENT  # frames of segments finished before the kill
        assert len(written) == FRAMES - whole
        assert not segments.folder_of(target).exists()


@pytest.mark.parametrize("kills", [[20, 20], [JOINED], [PUBLISHED]])
def test_a_render_may_be_killed_again_while_it_resumes_or_after_its_last_frame(tmp_path, kills):
    target = tmp_path / "out.mp4"
    for number, kill in enumerate(kills):
        render_killed(target, kill=kill, resume=number > 0)
    assert target.exists() == (kill == PUBLISHED) and segments.folder_of(target).exists()
    write_film(target, resume=True)
    assert np.array_equal(decoded(target), decoded(write_film(tmp_path / "wanted.mp4")))


def test_a_joined_film_is_the_film_of_one_encoder_where_it_fits_one_segment(tmp_path):
    one = write_film(tmp_path / "one.mp4", segment_frames=FRAMES)
    plain = write(tmp_path / "plain.mp4", PICTURES, scale=1, comment={"seed": 5})
    assert one.read_bytes() == plain.read_bytes()


def test_segments_of_other_settings_are_not_joined(tmp_path):
    target = tmp_path / "out.mp4"
    render_killed(target, kill=20)
    others = ({"seed": 6}, {"segment_frames": 8}, {"key": {"seed": 5, "path": "of"}})
    for name, other in zip(("seed", "segment", "walk"), others, strict=True):
        with pytest.raises(UsageError, match=f"begun with another {name}. Repeat"):
            write_film(target, resume=True, **other)
    assert segments.folder_of(target).exists()  # still there for the right command
    write_film(target, frames=8)  # without resume they are dropped
    assert len(decoded(target)) == 8


@pytest.mark.parametrize("resume", [False, True])
def test_a_film_that_is_being_made_is_left_alone(tmp_path, resume):
    target = tmp_path / "out.mp4"
    film = film_of(target)
    with film.made():
        for piece in film.missing():
            if piece.start == SEGMENT:
                with pytest.raises(SystemFault, match="another process is rendering it"):
                    write_film(target, resume=resume)
            fill(film, piece, PICTURES)
    assert len(decoded(target)) == FRAMES
    assert list(tmp_path.iterdir()) == [target]


def test_of_renders_started_together_one_makes_the_film(tmp_path):
    target, together, refused = tmp_path / "out.mp4", threading.Barrier(4), []

    def begin() -> None:
        together.wait()
        try:
            write_film(target, frames=8)
        except SystemFault as fault:
            refused.append(fault)

    for _ in range(5):
        threads = [threading.Thread(target=begin, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert ended(*threads)
        assert len(decoded(target)) == 8
        assert list(tmp_path.iterdir()) == [target]
    assert refused


def test_with_nothing_to_resume_a_render_starts_at_the_beginning_and_logs_it(tmp_path, said):
    write_film(tmp_path / "out.mp4", resume=True)
    assert "nothing to resume" in said[0]
    assert len(decoded(tmp_path / "out.mp4")) == FRAMES


def test_a_damaged_segment_is_named(tmp_path):
    film = film_of(tmp_path / "out.mp4")
    with pytest.raises(SystemFault, match=r"000000007\.mp4: damaged, 3 of 7"), film.made():
        for piece in film.missing():
            fill(film, piece[:3] if piece.start == 7 else piece, PICTURES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.gif", "out.webp", "out.apng", "out"])
def test_containers_that_cannot_be_joined_are_neither_resumed_nor_shared(tmp_path, name):
    for asked in ({"resume": True}, {"share": Share(0, 2)}):
        with pytest.raises(UsageError, match=r"joined.*\.mp4"):
            film_of(tmp_path / name, **asked)


def test_a_leftover_of_other_settings_never_gets_into_a_shared_film(tmp_path):
    target = tmp_path / "out.mp4"
    render_killed(target, kill=30)  # left behind with another key than below
    second = start_rank(target, 1, seed=6)
    time.sleep(0.1)  # it has to wait, and nothing shows that it does
    assert ended(start_rank(target, 0, seed=6), second)
    assert np.array_equal(decoded(target), decoded(write_film(tmp_path / "wanted.mp4")))


def test_the_first_process_ends_the_film_only_when_the_last_one_has_come(tmp_path):
    """A late process, even with nothing to write, would otherwise wait for a manifest for ever."""
    target = tmp_path / "out.mp4"
    first = start_rank(target, 0, frames=3)
    wait_until((segments.folder_of(target) / "000000000.mp4").exists)
    first.join(0.5)
    assert not target.exists()
    assert ended(start_rank(target, 1, frames=3), first) and len(decoded(target)) == 3


def test_a_process_that_came_before_a_kill_is_waited_for_again(tmp_path):
    """The first process would otherwise end the film, and the late one wait for it in vain."""
    target = tmp_path / "out.mp4"
    code = (
        "threads = [start_rank(Path('out.mp4'), rank, 'killed', frames=9) for rank in (1, 0)]\n"
        "segments.join = lambda *_: die()\n"
        "ended(*threads)"
    )
    run_to_death(code, tmp_path)
    assert len([*segments.folder_of(target).glob("0*.mp4")]) == 2
    first = start_rank(target, 0, "again", frames=9)
    first.join(1)
    assert not target.exists()
    assert ended(start_rank(target, 1, "again", frames=9), first) and len(decoded(target)) == 9


def test_a_process_started_with_other_settings_says_so_and_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "_PATIENCE_S", 0.2)
    target = tmp_path / "out.mp4"
    says = "rank 1 has another seed than rank 0"
    with pytest.raises(UsageError, match=says), film_of(target, share=Share(0, 2)).made():
        write_film(target, seed=6, share=Share(1, 2))
    assert list(tmp_path.iterdir()) == []


def render_command(onnx_file: Path, target: str, *, frames: int = 500) -> list[str]:
    options = ["--frames", str(frames), "--scale", "2", "--model", str(onnx_file)]
    return ["vidgan", "render", *options, target]


def test_two_processes_under_torchrun_make_the_film_of_one(onnx_file, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = [sys.executable, "-m", *render_command(onnx_file, "alone.mp4")]
    subprocess.run(alone, cwd=tmp_path, check=True)
    shared = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m"]
    command = [*shared, *render_command(onnx_file, "shared.mp4")]
    printed = subprocess.check_output(command, cwd=tmp_path, text=True)
    assert printed.count("shared.mp4: 500 frames") == 1
    assert np.array_equal(decoded(tmp_path / "shared.mp4"), decoded(tmp_path / "alone.mp4"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.mp4", "shared.mp4"]


@pytest.mark.slow
def test_a_process_that_is_lost_ends_the_other_and_leaves_nothing(onnx_file, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shared = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m"]
    command = [*shared, *render_command(onnx_file, "out.mp4", frames=100_000)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as launcher:
        wait_until((segments.folder_of(tmp_path / "out.mp4") / "manifest.json").exists, launcher)
        os.kill(children(launcher)[1], signal.SIGKILL)
        _, stderr = launcher.communicate(timeout=30)
    assert launcher.returncode and list(tmp_path.iterdir()) == []
    assert [line for line in stderr.splitlines() if line.startswith("vidgan: ")] == [
        "vidgan: interrupted by SIGTERM"
    ]


def test_the_command_resumes(onnx_file, tmp_path):
    command = [sys.executable, "-m", *render_command(onnx_file, "out.mp4")]
    running = subprocess.Popen(command, cwd=tmp_path)
    first = tmp_path / ".out.mp4.segments" / "000000000.mp4"
    wait_until(first.exists, running)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    command += ["--resume"]
    printed = subprocess.check_output(command, cwd=tmp_path, stderr=subprocess.STDOUT, text=True)
    assert "of 500 frames are there already" in printed
    assert len(decoded(tmp_path / "out.mp4")) == 500
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_film_has_its_sheet_and_its_walk_before_it_has_its_name(onnx_file, tmp_path):
    _, *render = render_command(onnx_file, "out.mp4")
    arguments = [*render, "--contact-sheet", "--save-walk", "walk.json"]
    main_that_dies = (
        "from vidgan.cli.main import main\n"
        "segments.publish = then_die(segments.publish)\n"
        f"sys.argv = {['vidgan', *arguments]}\n"
        "main()"
    )
    run_to_death(main_that_dies, tmp_path)
    wanted = {name: (tmp_path / name).read_bytes() for name in ("out.mp4", "out-sheet.png")}
    assert (tmp_path / "walk.json").exists()
    command = [sys.executable, "-m", "vidgan", *arguments, "--resume"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert {name: (tmp_path / name).read_bytes() for name in wanted} == wanted
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["out-sheet.png", "out.mp4", "walk.json"]
