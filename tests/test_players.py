"""Players run an exported generator with neither vidgan nor torch, and show the same frames."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.paths import loop
from vidgan import render
from vidgan.footage import read_frames
from vidgan.synthesis import open_generator

PLAYER = Path(__file__).parent.parent / "export" / "python" / "render.py"


@pytest.mark.parametrize(("seed", "frames"), [(7, 40), (2**40 + 3, 7), (0, 131)])
def test_the_python_player_makes_the_same_frames_from_the_same_seed(onnx_file, seed, frames):
    player = runpy.run_path(str(PLAYER))
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    generator = open_generator(onnx_file)
    path = loop(seed=seed, frames=frames, z_dim=generator.z_dim)
    ours = np.stack(list(render.frames(generator, path)))
    theirs = np.stack(list(player["frames_of"](session, seed, frames)))
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1 and (difference > 0).mean() <= 0.001


def test_the_python_player_writes_a_video_without_vidgan_or_torch(onnx_file, tmp_path):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['render.py', {str(onnx_file)!r}, 'out.mp4', '--frames', '12']\n"
        f"runpy.run_path({str(PLAYER)!r}, run_name='__main__')\n"
        "assert not {'torch', 'vidgan'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert len(list(read_frames(tmp_path / "out.mp4"))) == 12


def test_the_python_player_stays_short():
    assert len(PLAYER.read_text().splitlines()) < 120
