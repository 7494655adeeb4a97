import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tests.conftest import loop, vidgan
from tests.films import read_frames
from tests.waiting import interrupted, wait_until
from vidgan.errors import UsageError
from vidgan.film.segments import Share
from vidgan.film.target import Target
from vidgan.film.writer import VideoWriter
from vidgan.generator import synthesis
from vidgan.marks import xmp
from vidgan.render import pipeline

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Painter:
    """A generator that paints its latent in stripes, 16x16, and may fail after some calls."""

    z_dim, height, width, classes = 4, 16, 16, 0
    sha256, runs_on = "painter", "numpy"

    def __init__(self, fail_after: int | None = None) -> None:
        self.calls, self.batches, self._fail_after = 0, [], fail_after

    def __call__(self, z: np.ndarray) -> np.ndarray:
        self.calls += 1
        self.batches.append(z)
        if self._fail_after is not None and self.calls > self._fail_after:
            raise ValueError("the generator broke")
        levels = np.clip(128 + 60 * z, 0, 255).astype(np.uint8)
        return np.stack([np.tile(v.repeat(4)[:, None, None], (1, 16, 3)) for v in levels])


def writer_to(target, kind=VideoWriter):
    return kind(Target.parse(target, scale=1))


def path_of(frames, z_dim=4):
    return loop(seed=0, frames=frames, z_dim=z_dim)


@pytest.mark.parametrize("frames", [1, 16, 17, 241, 500])
def test_frames_come_in_order_and_none_is_lost_between_the_stages(tmp_path, frames):
    seen = []
    painter, path = Painter(), path_of(frames)
    writer = writer_to(tmp_path / "out")
    pipeline.render(painter, path, writer, progress=lambda *done: seen.append(done))
    assert seen[-1] == (frames, frames)
    wanted = painter(path.latents(0, frames))
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) == frames
    assert all(np.array_equal(Image.open(f), w) for f, w in zip(files, wanted, strict=True))


def test_a_frame_is_the_same_alone(onnx_file):
    generator = synthesis.open_generator(onnx_file)
    path = path_of(21, generator.z_dim)
    alone = [generator(path.latents(i, i + 1))[0] for i in range(21)]
    assert np.array_equal(np.stack(alone), np.stack(list(pipeline.frames(generator, path))))


def test_a_frame_is_computed_in_the_same_batch_whoever_renders_it(tmp_path):
    """The batch of 16 that starts at the multiple of 16 below it, as sums depend on the batch."""
    path, ranks = path_of(500), [Painter(), Painter()]
    with ThreadPoolExecutor(2) as pool:
        for rank, painter in enumerate(ranks):
            writer, share = writer_to(tmp_path / "out.mkv"), Share(rank, 2)
            pool.submit(pipeline.render, painter, path, writer, share=share)
    z = path.latents(0, 500)
    aligned = {z[i : i + 16].tobytes() for i in range(0, 500, 16)}
    batches = [batch.tobytes() for painter in ranks for batch in painter.batches]
    assert sorted(batches) == sorted(aligned)


def test_the_generator_is_only_a_little_ahead_of_the_encoder(tmp_path):
    painter, ahead = Painter(), []

    class Slow(VideoWriter):
        def write(self, frame):
            time.sleep(0.002)  # slower than the painter, so that a queue can fill
            super().write(frame)
            ahead.append(painter.calls * 16 - self.frames_written)

    pipeline.render(painter, path_of(400), writer_to(tmp_path / "out.gif", Slow))
    assert 16 <= max(ahead) <= 16 * 6  # made ahead, and yet bounded


@pytest.mark.parametrize("stage", ["path", "generator", "encoder", "progress"])
@pytest.mark.parametrize("name", ["out.mp4", "out.gif"])
def test_the_error_of_any_stage_stops_all_and_is_the_one_raised(tmp_path, stage, name):
    class BrokenPath:
        frames = 600

        def latents(self, start, stop):
            if start:
                raise ValueError("the path broke")
            return path_of(600).latents(start, stop)

    class BrokenWriter(VideoWriter):
        def write(self, frame):
            if self.frames_written == 5:
                raise ValueError("the encoder broke")
            super().write(frame)

    def broken_progress(done, total):
        if stage == "progress" and done > 300:
            raise ValueError("the progress broke")

    writer = writer_to(tmp_path / name, BrokenWriter if stage == "encoder" else VideoWriter)
    painter = Painter(fail_after=20 if stage == "generator" else None)
    path = BrokenPath() if stage == "path" else path_of(600)
    with pytest.raises(ValueError, match=f"the {stage} broke"):
        pipeline.render(painter, path, writer, progress=broken_progress)
    assert list(tmp_path.iterdir()) == []
    assert [t.name for t in threading.enumerate() if t.name.startswith("ahead")] == []


def interrupted_render(onnx_file, folder, *options, once, by):
    """Send a signal to a render when there is such a file; returns its stderr."""
    command = [sys.executable, "-m", "vidgan", "render", "--frames", "100000", "--scale", "2"]
    command += ["--model", onnx_file, *options]
    code, stderr = interrupted(command, folder, lambda: any(folder.rglob(once)), by)
    said = "interrupted" if by == signal.SIGINT else f"interrupted by {by.name}"
    assert code == 128 + by and stderr.splitlines()[-1] == f"vidgan: {said}"
    assert "Traceback" not in stderr
    return stderr


@pytest.mark.parametrize("by", SIGNALS)
@pytest.mark.parametrize(
    ("name", "once"), [("out.mp4", "*.segments/0*.mp4"), ("out.webp", "*.part-*")]
)
def test_a_signal_leaves_nothing_behind(onnx_file, tmp_path, name, once, by):
    interrupted_render(onnx_file, tmp_path, name, once=once, by=by)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("by", SIGNALS)
def test_a_signal_keeps_what_resume_goes_on_from(onnx_file, tmp_path, by):
    stderr = interrupted_render(
        onnx_file, tmp_path, "--resume", "out.mp4", once="*.segments/0*.mp4", by=by
    )
    assert "out.mp4: stopped" in stderr
    assert [path.name for path in tmp_path.iterdir()] == [".out.mp4.segments"]
    assert list(tmp_path.rglob("*.mp4")) and not list(tmp_path.rglob("*.part*"))


@pytest.mark.parametrize("name", ["out.gif", "out.webp", "out/"])
def test_the_next_render_deletes_what_one_that_was_killed_left(onnx_file, tmp_path, name):
    command = [sys.executable, "-m", "vidgan", "render", "--model", str(onnx_file), name]
    name = name.rstrip("/")
    with subprocess.Popen([*command, "--frames", "100000"], cwd=tmp_path) as process:
        wait_until(lambda: any(tmp_path.rglob(f".{name}.part-*/{name}")), process)
        process.kill()
    assert len(list(tmp_path.iterdir())) == 1
    subprocess.run([*command, "--frames", "2"], cwd=tmp_path, check=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_very_large_job_is_estimated_and_needs_a_yes():
    with pytest.raises(UsageError, match=r"hours and [\d,.]+ GB .*--yes"):
        pipeline.check_frames(10**9, yes=False)
    pipeline.check_frames(10**9, yes=True)
    pipeline.check_frames(20_000, yes=False)


def test_a_contact_sheet_shows_frames_spread_over_the_film(tmp_path):
    painter, path = Painter(), path_of(320)
    sheet = pipeline.contact_sheet(painter, path)
    assert sheet.shape == (4 * 16, 8 * 16, 3)
    assert np.array_equal(sheet[16:32, :16], painter(path.latents(80, 81))[0])


def test_the_command_writes_a_marked_contact_sheet_beside_the_film(onnx_file, tmp_path):
    options = ["--frames", "40", "--contact-sheet", "--model", onnx_file]
    vidgan("render", *options, tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-sheet.png", "out.mp4"]
    assert xmp.find_mark(tmp_path / "out-sheet.png")
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 40
