"""Opens what a test has made."""

import numpy as np
import pytest

from tests.conftest import listening
from tests.data.making import grey_frames
from tests.films import write
from vidgan.config import DataConfig
from vidgan.data.cache import native_size, open_dataset
from vidgan.disk.places import cache_root
from vidgan.errors import DataError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """24 frames, 64x36: every second one repeats the one before."""
    frames = grey_frames([20 + index // 2 * 16 for index in range(24)], (36, 64))
    film = write(tmp_path_factory.mktemp("clip") / "clip.mp4", frames, scale=1)
    film.write_bytes(film.read_bytes().replace(b"vidgan", b"camera"))
    return film


def opened(source, width=16, height=16, **settings):
    """The data set, and the lines that were logged while opening it."""
    config = DataConfig(source=str(source), **settings)
    with listening() as lines:
        return open_dataset(config, width=width, height=height), lines


def refusal(source, kind=DataError, *, width=16, height=16, **settings):
    """The message of the error that opening raises: one line, and no cache is left."""
    with pytest.raises(kind) as caught:
        opened(source, width, height, **settings)
    root = cache_root()
    left = {path.name for path in root.iterdir()} if root.is_dir() else set()
    assert left <= {"torchvision"}
    assert "\n" not in str(caught.value)
    return str(caught.value)


def size_of(source):
    return native_size(DataConfig(source=str(source)))


def pixels_of(dataset):
    return dataset.take(np.arange(len(dataset)))


def colours(dataset):
    """The middle pixel of each picture."""
    _, height, width, _ = pixels_of(dataset).shape
    return [tuple(map(int, pixel)) for pixel in pixels_of(dataset)[:, height // 2, width // 2]]


def caches():
    """The finished and unfinished caches on disk, without their locks."""
    return [path for path in cache_root().iterdir() if path.suffix != ".lock"]
