import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tests.conftest import contents
from tests.waiting import another_process_in
from vidgan.disk import files
from vidgan.errors import ModelError, SystemFault, UsageError


def put(part: Path, text: str) -> None:
    """A file, or a folder that holds one, as the suffix says."""
    if not part.suffix:
        part.mkdir()
        part /= "frame"
    part.write_text(text)


def read(path: Path) -> str:
    return (path / "frame" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("name", ["out.gif", "out"])
def test_the_part_of_a_killed_process_is_deleted_and_that_of_a_living_one_is_not(tmp_path, name):
    target, mine = tmp_path / name, tmp_path / f".{name}.part-abcdef01"
    (tmp_path / f".{name}.part-7").write_text("mine")
    mine.mkdir()
    (mine / "photo.png").write_text("mine")
    before = contents(tmp_path)
    with another_process_in(files.claimed, target) as other:
        (living,) = contents(tmp_path).keys() - before.keys() - {*tmp_path.glob("*/lock-*")}
        put(living / name, "half")
        (living / f"{name}.sound").write_text("half")
        during = contents(tmp_path)
        with files.whole(target) as part:
            put(part, "new")
        assert contents(tmp_path).items() > during.items()
        other.kill()
        other.wait()
    files.remove_dead(tmp_path, "other.gif")
    assert contents(tmp_path).items() > during.items()
    with files.whole(target) as part:
        put(part, "newer")
    assert {p for p in contents(tmp_path) if p.parent == tmp_path} == {*before, target} - {
        mine / "photo.png"
    }
    assert read(target) == "newer" and (mine / "photo.png").exists()


def test_processes_that_start_at_once_never_delete_the_part_of_another(tmp_path):
    """Each finds the folders of the others before they are locked, and while they are."""
    code = (
        "import sys, pathlib\n"
        "from vidgan.disk import files\n"
        "for i in range(60):\n"
        "    with files.whole(pathlib.Path('out.gif')) as part:\n"
        "        part.write_text('whole')\n"
    )
    run = [sys.executable, "-c", code]
    running = [subprocess.Popen(run, cwd=tmp_path, stderr=subprocess.PIPE) for _ in range(4)]
    assert [process.communicate()[1] for process in running] == [b""] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["out.gif"]


DIES = """
import os, pathlib, signal, sys
from vidgan.disk import files
def dies(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
with files.whole(pathlib.Path("out.gif")) as part:
    part.write_text("half")
    part.with_name("out.gif.sound").write_text("half")
    {}
"""


@pytest.mark.parametrize(
    "point",
    [
        "files.publish = dies",
        "files._discard = dies",
        "remove = files.remove; files.remove = lambda path: (remove(path), dies())",
        "files.shutil.rmtree = dies",
    ],
)
def test_a_part_is_deleted_wherever_its_process_was_killed(tmp_path, point):
    done = subprocess.run([sys.executable, "-c", DIES.format(point)], cwd=tmp_path)
    assert done.returncode == -9 and [*tmp_path.glob(".out.gif.part-*")]
    files.write_bytes(tmp_path / "out.gif", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["out.gif"]


def test_a_part_is_deleted_if_its_process_was_killed_before_it_could_lock_it(tmp_path):
    code = DIES.format("pass").replace("with files", "files._lock = dies\nwith files")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == -9 and [*tmp_path.glob(".out.gif.part-*")]
    files.write_bytes(tmp_path / "out.gif", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["out.gif"]


@pytest.mark.parametrize("system", ["exchanges", "only renames"])
@pytest.mark.parametrize("name", ["frames", "lock", "old"])
def test_a_folder_is_replaced_and_the_old_one_deleted(tmp_path, monkeypatch, name, system):
    if system == "only renames":
        monkeypatch.setattr(files, "_rename", lambda *_: False)
    target = tmp_path / name
    for text in ("old", "new"):
        with files.whole(target) as part:
            put(part, text)
    assert read(target) == "new" and list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two folders in one step")
def test_there_is_no_moment_without_the_old_folder_or_the_new_one(tmp_path):
    """Looks between all lines of the module; a thread that watched would mostly come too late."""
    target, absent, before = tmp_path / "frames", [], sys.gettrace()
    with files.whole(target) as part:
        put(part, "old")

    def look(frame, *_):
        if frame.f_code.co_filename == files.__file__:
            if not (target / "frame").exists():
                absent.append(frame.f_lineno)
            return look

    sys.settrace(look)
    try:
        with files.whole(target) as part:
            put(part, "new")
    finally:
        sys.settrace(before)
    assert read(target) == "new" and not absent


def test_a_folder_is_put_back_if_its_process_was_killed_between_two_renames(tmp_path):
    with files.whole(tmp_path / "out") as part:
        put(part, "old")
    code = (
        "import os\nfrom pathlib import Path\nfrom vidgan.disk import files\n"
        "files._rename = lambda *_: False  # as on a file system that cannot exchange\n"
        "rename = Path.rename\n"
        "Path.rename = lambda *paths: (rename(*paths), os.kill(os.getpid(), 9))\n"
        "with files.whole(Path('out')) as part:\n"
        "    part.mkdir()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == -9 and not (tmp_path / "out").exists()
    files.remove_dead(tmp_path)
    assert read(tmp_path / "out") == "old" and len(list(tmp_path.iterdir())) == 1


def test_macos_exchanges_two_folders_by_its_own_name_for_it(tmp_path, monkeypatch):
    called = []
    library = types.SimpleNamespace(renamex_np=lambda *words: called.append(words) or 0)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: library)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert files._rename(tmp_path / "a", tmp_path / "b", files._EXCHANGE)
    assert called == [(os.fsencode(tmp_path / "a"), os.fsencode(tmp_path / "b"), 2)]


@pytest.mark.parametrize("system", ["refuses", "only renames"])
@pytest.mark.parametrize("name", ["out.gif", "out"])
def test_a_target_that_appears_meanwhile_stays_unless_forced(tmp_path, monkeypatch, name, system):
    if system == "only renames":
        monkeypatch.setattr(files, "_rename", lambda *_: False)
    target = tmp_path / name
    with pytest.raises(UsageError, match="--force"), files.whole(target, force=False) as part:
        put(part, "new")
        put(target, "mine")
    assert read(target) == "mine" and list(tmp_path.iterdir()) == [target]
    with files.whole(target) as part:
        put(part, "new")
    assert read(target) == "new"


@pytest.mark.parametrize("name", ["", ".", "..", "../p4", "../../above", "../p4/../p4/."])
def test_the_folder_that_one_is_in_is_no_target(tmp_path, monkeypatch, name):
    here = tmp_path / "above" / "p4"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    for force in (False, True):
        with pytest.raises(UsageError, match=r"you are in (this folder|a folder in it); give"):
            files.check_new(Path(name), force=force)
    files.check_new(Path("../p4/new"), force=False)


def test_a_name_that_no_file_can_have_is_a_fault_of_one_line(tmp_path):
    with pytest.raises(SystemFault, match="File name too long"):
        files.check_new(tmp_path / f"{'a' * 300}.mp4", force=False, suffix=".mp4")


@pytest.mark.parametrize(
    ("number", "advice"), [(28, "Free some space, or set"), (30, "Set"), (13, "Set")]
)
def test_only_a_full_disk_asks_for_space(tmp_path, number, advice):
    error = OSError(number, os.strerror(number))
    with pytest.raises(SystemFault) as fault, files.disk_faults(tmp_path / "cache" / "a"):
        raise error
    assert str(fault.value).endswith(
        f"({error.strerror}). {advice} VIDGAN_CACHE to a folder on another disk."
    )
    with pytest.raises(SystemFault, match=r"\.$"), files.disk_faults(tmp_path / "a"):
        raise error


def test_a_model_that_is_no_readable_file_is_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    for name, says in ((".", "a folder"), ("pipe.onnx", "not a file"), ("x.onnx", "no such file")):
        with pytest.raises(ModelError, match=says):
            files.check_file(tmp_path / name)


def as_another_user(code: str, folder: Path) -> str:
    """Run code without the rights of the super-user, who may read everything."""
    start = f"import os, sys; sys.path.insert(0, {str(Path(files.__file__).parents[2])!r})\n"
    start += "from pathlib import Path\nfrom vidgan.disk import files\n"
    start += "if not os.getuid(): os.setgid(65534); os.setuid(65534)\n"
    command = [sys.executable, "-c", start + code]
    return subprocess.check_output(command, cwd=folder, stderr=subprocess.STDOUT, text=True)


def test_a_model_that_one_may_not_read_is_one_line(tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    (tmp_path / "mine.onnx").write_text("secret")
    (tmp_path / "mine.onnx").chmod(0)
    code = "try: files.check_file(Path('mine.onnx'))\nexcept Exception as e: print(repr(e))"
    assert as_another_user(code, tmp_path) == (
        "ModelError('mine.onnx: cannot be read (Permission denied).')\n"
    )


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs a mount of its own")
def test_a_read_only_disk_is_a_fault_of_one_line(tmp_path):
    code = (
        "from pathlib import Path; from vidgan.disk import files\n"
        "try:\n    with files.whole(Path('a')): pass\n"
        "except Exception as e: print(repr(e))"
    )
    mount = 'mount -t tmpfs -o ro none "$0" && cd "$0" && exec "$1" -c "$2"'
    command = ["unshare", "--mount", "sh", "-c", mount, str(tmp_path), sys.executable, code]
    root = str(Path(files.__file__).parents[2])
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": root}
    )
    if "not permitted" in done.stderr:
        pytest.skip("needs the right to mount")
    assert done.stdout == "SystemFault('a: cannot be written (Read-only file system).')\n"


def test_force_replaces_only_what_names_vidgan(tmp_path):
    target = tmp_path / "film.mp4"
    for content, ours in ((b"", True), (b"mine", False), (b"marked by vidgan", True)):
        target.write_bytes(content)
        refused = contextlib.nullcontext() if ours else pytest.raises(UsageError, match="not of")
        with refused:
            files.check_new(target, suffix=".mp4", force=True)
