import os
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.data.conftest import colours, opened, refusal
from tests.data.making import GREEN, RED, paint, png, zipped
from vidgan.data import archives


def test_a_zip_gives_what_its_folder_gives(folder, tmp_path):
    for name, colour in {"x/cat/1.png": RED, "x/dog/2.png": GREEN}.items():
        paint(folder / name, colour)
    shutil.make_archive(str(tmp_path / "Zipped Set"), "zip", folder)
    from_folder, _ = opened(folder)
    from_zip, _ = opened(tmp_path / "Zipped Set.zip")
    assert from_zip.name == "zipped-set"
    assert from_zip.class_names == from_folder.class_names == ("cat", "dog")
    assert from_zip.labels.tolist() == [0, 1] and colours(from_zip) == [RED, GREEN]
    assert from_zip.fingerprint == from_folder.fingerprint


def test_nothing_is_written_by_a_zip_with_tricky_names(tmp_path):
    names = ["../../evil.png", "/tmp/evil.png", "C:\\evil.png", "a/../../evil.png"]
    path = zipped(tmp_path / "evil.zip", dict.fromkeys(names, png()))
    before = set(tmp_path.rglob("*")) | {Path("/tmp/evil.png").exists()}
    dataset, _ = opened(path)
    after = {p for p in tmp_path.rglob("*") if "cache" not in p.parts}
    assert len(dataset) == 4
    assert after | {Path("/tmp/evil.png").exists()} == before


def test_links_zips_and_hidden_files_in_a_zip_are_left_out(tmp_path):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    inner = zipped(tmp_path / "inner.zip", {"b.png": png()}).read_bytes()
    path = zipped(tmp_path / "a.zip", {"a.png": png(), "inner.zip": inner, "__MACOSX/._a.png": "x"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    dataset, lines = opened(path)
    assert len(dataset) == 1 and any("1 x .zip" in line for line in lines)


def test_an_encrypted_zip_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.png": png(), "locked.png": png()})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the flag in the directory
    path.write_bytes(content)
    assert "locked.png is encrypted" in refusal(path)


def test_members_that_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", {"fine.png": png(), "bomb.bmp": bytes(4 * 2**20)})
    assert "bomb.bmp would unpack to 4 MB" in refusal(path)
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 100)
    path = zipped(tmp_path / "b.zip", {"large.png": os.urandom(101)})
    assert "large.png" in refusal(path)


@pytest.mark.parametrize("limit", [10, 1])
def test_too_many_files_are_refused_before_or_after_the_directory(tmp_path, monkeypatch, limit):
    members = {f"{index}.txt": "" for index in range(12)} | {"a.png": png()}
    path = zipped(tmp_path / "a.zip", members)
    monkeypatch.setattr(archives, "MAX_MEMBERS", limit)
    message = refusal(path)
    assert ("directory is too long" in message) == (limit == 1) and str(limit) in message


def test_a_cut_zip_is_refused_and_one_with_a_bad_member_names_it(tmp_path):
    path = zipped(tmp_path / "a.zip", {f"{index}.png": png() for index in range(30)})
    content = bytearray(path.read_bytes())
    (tmp_path / "cut.zip").write_bytes(content[:-40])
    assert "damaged" in refusal(tmp_path / "cut.zip")
    content[content.index(b"0.png") + 20] ^= 0xFF  # in its compressed bytes
    path.write_bytes(content)
    dataset, lines = opened(path)
    assert len(dataset) == 29 and any("skipped: 0.png: " in line for line in lines)


def test_a_zip_without_pictures_is_refused(tmp_path):
    assert "1 x .txt" in refusal(zipped(tmp_path / "a.zip", {"a.txt": "text"}))
