import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from vidgan.disk import places
from vidgan.errors import SystemFault


def test_the_cache_lies_in_the_platforms_place_by_default(monkeypatch):
    monkeypatch.setenv("VIDGAN_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setattr(sys, "platform", "linux")
    assert places.cache_root() == Path("/somewhere/vidgan")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert places.cache_root() == Path.home() / ".cache/vidgan"


def test_bundled_files_are_found_in_a_wheel_and_in_a_checkout(tmp_path):
    package, wheel = tmp_path / "vidgan", tmp_path / "vidgan/_bundled/train/a.toml"
    checkout = tmp_path / "train/a.toml"
    for path in (wheel, checkout):
        path.parent.mkdir(parents=True)
        path.touch()
    find = _bundled_of_a_copy_in(package)
    assert find("train/a.toml") == wheel
    wheel.unlink()
    with pytest.raises(SystemFault, match=r"train/a\.toml"):  # somebody else's, beside a package
        find("train/a.toml")
    (tmp_path / "pyproject.toml").touch()
    assert find("train/a.toml") == checkout and find("train").is_dir()


def _bundled_of_a_copy_in(package):
    (package / "disk").mkdir()
    shutil.copy(places.__file__, package / "disk/places.py")
    spec = importlib.util.spec_from_file_location("a_places", package / "disk/places.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.bundled
