import datetime
import http.server
import json
import shutil
import sys
import threading

import av
import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.films import decoded, fill, film_writer, noise, write
from tests.marks.test_xmp import CAMERA, COMMENT, FRAME, FRAMES, FULL_MARK, marked, unmarked
from tests.sounds import write_sound
from vidgan.cli.export import verify
from vidgan.errors import SystemFault, UsageError
from vidgan.film.segments import Film
from vidgan.marks import c2pa as signing
from vidgan.marks.c2pa import find_signature, signer
from vidgan.marks.xmp import DIGITAL_SOURCE_TYPE, PNG_KEYWORD, append_mark, find_mark, xmp_packet

PKCS8, SEC1 = form.PrivateFormat.PKCS8, form.PrivateFormat.TraditionalOpenSSL


def make(folder, name, *, start_days=-1, days=30, key=None, layout=PKCS8, password=None):
    """A certificate for signing and its key, in `name`.pem and `name`.key."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    owner = x509.Name.from_rfc4514_string(f"CN={name},O=Studio")
    start = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=start_days)
    certificate = (
        x509.CertificateBuilder(owner, owner, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(x509.KeyUsage(True, *[False] * 8), critical=True)  # digital_signature
        .add_extension(x509.ExtendedKeyUsage([x509.OID_EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(form.Encoding.PEM))
    locked = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    files[1].write_bytes(key.private_bytes(form.Encoding.PEM, layout, locked))
    return files


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return make(tmp_path_factory.mktemp("keys"), "good")


def signed(path, keys):
    signer(path, *keys)(path)
    return path


HOLDS = "holds; by Studio (good), as the certificate says of itself"


@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out.webp", "frames"])
def test_a_signed_file_has_its_frames_its_mark_and_a_valid_signature(tmp_path, name, good):
    sign = signer(tmp_path / name, *good)
    plain = marked(tmp_path, name)
    path = write(tmp_path / f"signed-{name}", FRAMES, comment=COMMENT, scale=2, finish=sign)
    if name == "frames":
        plain, path = plain / "frame000002.png", path / "frame000002.png"
    assert np.array_equal(decoded(plain), decoded(path))
    assert find_mark(path) == FULL_MARK
    mark = {"signature": HOLDS, "digital_source_type": DIGITAL_SOURCE_TYPE}
    assert find_signature(path) == mark
    assert not list(tmp_path.rglob(".*")), "left behind"


def test_a_signed_file_says_that_a_trained_model_made_it(tmp_path, good):
    path = signed(marked(tmp_path, "out.mov"), good)
    assert find_mark(path) == FULL_MARK and len(decoded(path)) == 3
    with c2pa.Reader(path) as reader:
        report, manifest = json.loads(reader.json()), reader.get_active_manifest()
    assert report["validation_state"] == "Valid"
    assert [s["code"] for s in report["validation_status"]] == ["signingCredential.untrusted"]
    (actions,) = [a["data"]["actions"] for a in manifest["assertions"] if "actions" in a["label"]]
    assert [(a["action"], a["digitalSourceType"]) for a in actions] == [
        ("c2pa.created", DIGITAL_SOURCE_TYPE)
    ]
    assert manifest["claim_generator_info"][0]["name"] == "vidgan"
    assert "thumbnail" not in manifest
    assert "time" not in manifest["signature_info"]  # which would be from an authority


@pytest.mark.parametrize("sound", [False, True])
def test_a_film_joined_from_segments_is_signed_once_and_last(tmp_path, good, sound):
    target = tmp_path / "out.mp4"
    song = write_sound(tmp_path / "song.wav", duration_s=0.5) if sound else None
    finish = signer(target, *good)
    writer = film_writer(target, scale=2, sound=song, finish=finish, comment=COMMENT)
    film, frames = Film(writer, frames=7, key={}, segment_frames=3), noise(7)
    with film.made():
        for piece in film.missing():
            fill(film, piece, frames)
    assert find_signature(target)["signature"] == HOLDS
    assert find_mark(target) == FULL_MARK and len(decoded(target)) == 7
    with av.open(str(target)) as container:
        assert bool(container.streams.audio) == sound


@pytest.mark.parametrize(
    ("key", "layout"),
    [
        (ec.generate_private_key(ec.SECP384R1()), SEC1),
        (rsa.generate_private_key(65537, 2048), PKCS8),
        (ed25519.Ed25519PrivateKey.generate(), PKCS8),
    ],
    ids=["P-384, as openssl ecparam writes it", "RSA", "Ed25519"],
)
def test_other_kinds_of_keys_sign(tmp_path, key, layout):
    path = signed(marked(tmp_path, "out.gif"), make(tmp_path, "good", key=key, layout=layout))
    assert find_signature(path)["signature"] == HOLDS


@pytest.mark.parametrize(
    ("says", "target", "certificate", "key"),
    [
        ("No such file", "out.mp4", "absent.pem", "good.key"),
        ("No such file", "out.mp4", "good.pem", "absent.key"),
        ("certificate", "out.mp4", "notes.txt", "good.key"),
        (r"^--sign-key \S+notes.txt: Unable to load PEM[^:]*$", "out.mp4", "good.pem", "notes.txt"),
        ("does not match", "out.mp4", "good.pem", "other.key"),
        ("not valid at time", "out.mp4", "expired.pem", "expired.key"),
        ("not valid at time", "out.mp4", "future.pem", "future.key"),
        ("encrypted", "out.mp4", "locked.pem", "locked.key"),
        ("secp256k1", "out.mp4", "odd.pem", "odd.key"),
        ("directory", "out.mp4", ".", "good.key"),
        ("for a folder of PNG, .mp4, .mov, .gif, .webp", "out.mkv", "good.pem", "good.key"),
        ("for a folder of PNG, .mp4, .mov, .gif, .webp", "out.apng", "good.pem", "good.key"),
    ],
)
def test_what_cannot_sign_is_refused_in_one_line(tmp_path, says, target, certificate, key):
    make(tmp_path, "good")
    make(tmp_path, "other")
    make(tmp_path, "expired", start_days=-30, days=10)
    make(tmp_path, "future", start_days=10)
    make(tmp_path, "locked", password=b"secret")
    make(tmp_path, "odd", key=ec.generate_private_key(ec.SECP256K1()))
    (tmp_path / "notes.txt").write_text("no key")
    with pytest.raises(UsageError, match=says) as error:
        signer(tmp_path / target, tmp_path / certificate, tmp_path / key)
    assert "\n" not in str(error.value)


def printed(capsys, *files, code=0):
    if code:
        with pytest.raises(SystemExit) as left:
            verify(*files)
        assert left.value.code == code
    else:
        verify(*files)
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines() if line.startswith(" "))
    return out


def test_verify_says_what_made_a_file_and_who_signed_it(tmp_path, capsys, good):
    path = signed(marked(tmp_path, "out.gif"), good)
    lines = printed(capsys, path).splitlines()
    assert lines[0] == f"{path}: marked as synthetic"
    words = [line.split()[0] for line in lines[1:]]
    assert words == ["source", "made", "model", "seed", "path", "signature"]
    assert "trainedAlgorithmicMedia" in lines[1] and lines[-1].endswith(HOLDS)


def test_verify_looks_at_every_file_and_its_code_is_that_of_the_worst(tmp_path, capsys):
    Image.fromarray(FRAME).save(tmp_path / "photo.png")
    out = printed(capsys, tmp_path / "photo.png", marked(tmp_path, "out.gif"), code=1)
    assert f"{tmp_path / 'photo.png'}: no mark found\n" in out
    assert "out.gif: marked as synthetic" in out and "not " not in out
    printed(capsys, tmp_path / "photo.png", tmp_path / "absent.png", code=2)


def test_verify_lists_the_files_of_a_folder_in_groups(tmp_path, capsys):
    folder = marked(tmp_path, "frames")
    out = printed(capsys, folder)
    assert out.startswith(f"{folder / 'frame000000.png'} to frame000002.png (3 files): marked")
    Image.fromarray(FRAME).save(folder / "frame000001.png")
    out = printed(capsys, folder, code=1)
    assert "frame000001.png: no mark found" in out and "frame000002.png (2 files): marked" in out
    (tmp_path / "empty").mkdir()
    printed(capsys, tmp_path / "empty", code=2)


def test_verify_prints_no_control_characters_of_a_file(tmp_path, capsys):
    path = unmarked(tmp_path / "plain.mp4")
    append_mark(path, {"a\x1b[2J": "b\x07\n" + "c" * 5000, "source": "a camera", "signature": "x"})
    out = printed(capsys, path)
    assert out.isascii() and "\x1b" not in out and "\x07" not in out and len(out) < 2000
    assert "camera" not in out and "signature" not in out


@pytest.mark.parametrize("name", ["generator.safetensors", "generator.onnx"])
def test_verify_reads_models_and_proves_exports(onnx_file, capsys, name):
    out = printed(capsys, onnx_file.with_name(name))
    assert "marked as synthetic" in out and "trainedAlgorithmicMedia" in out
    assert ("0 grey levels" in " ".join(out.split())) == name.endswith(".onnx")


def test_a_changed_picture_breaks_its_signature(tmp_path, capsys, good):
    path = signed(marked(tmp_path, "out.mp4"), good)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"mdat") + 100] ^= 1
    path.write_bytes(data)
    assert "does NOT hold: assertion.bmffHash.mismatch; claims to be by Studio" in " ".join(
        printed(capsys, path, code=1).split()
    )


def test_the_signature_of_another_tool_alone_is_a_mark_too(tmp_path, capsys, good):
    path = signed(unmarked(tmp_path / "plain.mp4"), good)
    assert find_mark(path) is None
    assert "marked as synthetic\n  source      trainedAlgorithmicMedia\n" in printed(capsys, path)


def test_the_signature_of_a_camera_is_no_mark(tmp_path, capsys, good, monkeypatch):
    monkeypatch.setitem(signing._CREATED, "digitalSourceType", CAMERA)
    path = signed(unmarked(tmp_path / "plain.mp4"), good)
    assert f"no mark found\n  signature   {HOLDS}\n" in printed(capsys, path, code=1)


def test_a_damaged_signature_is_no_crash(tmp_path, capsys, good):
    path = signed(marked(tmp_path, "out.gif"), good)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    at = whole.index(b"jumdc2pa")
    for start in rng.integers(at, at + 3000, 20).tolist():
        path.write_bytes(whole[:start] + rng.bytes(8) + whole[start + 8 :])
        assert "signature" in find_signature(path)
    (tmp_path / "other.mkv").write_bytes(b"jumdc2pa")
    assert "NOT" in find_signature(tmp_path / "other.mkv")["signature"]


def test_a_file_cannot_make_verify_open_a_connection(tmp_path):
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = f"http://127.0.0.1:{server.server_port}/manifest.c2pa"
        link = f'xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{there}" xmlns:xmp='
        text = PngInfo()
        text.add_itxt(PNG_KEYWORD, xmp_packet().decode().replace("xmlns:xmp=", link))
        text.add_text("comment", "jumdc2pa")
        Image.fromarray(FRAME).save(tmp_path / "linked.png", pnginfo=text)
        assert "NOT" in find_signature(tmp_path / "linked.png")["signature"]
        server.shutdown()
    assert not asked


def test_without_the_extra_both_say_how_to_get_it(tmp_path, capsys, good, monkeypatch):
    path = signed(marked(tmp_path, "out.gif"), good)
    shutil.copy(marked(tmp_path, "out.webp"), tmp_path / "unsigned.webp")
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert "pip install 'vidgan[provenance]'" in " ".join(printed(capsys, path).split())
    assert "pip install" not in printed(capsys, tmp_path / "unsigned.webp")
    with pytest.raises(SystemFault, match=r"pip install 'vidgan\[provenance\]'"):
        signer(path, *good)
