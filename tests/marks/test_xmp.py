import json
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from PIL import Image
from safetensors.numpy import save_file

from tests.films import decoded, write
from vidgan import __version__
from vidgan.errors import UsageError
from vidgan.film.writer import write_png
from vidgan.marks.xmp import (
    DIGITAL_SOURCE_TYPE,
    MODEL_KEY,
    append_mark,
    find_mark,
    tags,
    xmp_packet,
)

# What would break XML, a sub-block, or a packet that is found by its end.
COMMENT = {"model": "0f3a", "seed": 7, "path": "a & <b> \"c\" 'd' é </x:xmpmeta>\n"}
FRAME = np.arange(32 * 32 * 3, dtype=np.uint32).reshape(32, 32, 3).astype(np.uint8)
FRAMES = [np.roll(FRAME, index, axis=0) for index in range(3)]
FULL_MARK = {
    "digital_source_type": DIGITAL_SOURCE_TYPE,
    "creator_tool": f"vidgan {__version__}",
    "comment": COMMENT,
}
# The muxer, encoder and pixel format of files that PyAV writes here.
BY_PYAV = {
    "out.mov": ("mov", "prores_ks", "yuv422p10le"),
    "out.mkv": ("matroska", "ffv1", "bgr0"),
    "out.webm": ("webm", "libvpx-vp9", "yuv420p"),
    "out.apng": ("apng", "apng", "rgb24"),
    "lossless.webp": ("webp", "libwebp", "bgra"),
    "plain.mp4": ("mp4", "libx264", "yuv420p"),
}
NAMES = ["out.mp4", "out.gif", "out.webp", "out.png", *list(BY_PYAV)[:-1]]
CAMERA = DIGITAL_SOURCE_TYPE.replace("trainedAlgorithmicMedia", "digitalCapture")


def unmarked(target: Path, frames: int = 3, tags: dict[str, str] | None = None) -> Path:
    """A file that other programs made; what PyAV writes may have tags."""
    if target.name not in BY_PYAV:
        Image.fromarray(FRAME).save(target)
        return target
    form, encoder, pixels = BY_PYAV[target.name]
    lossless = {"lossless": "1"} if target.suffix == ".webp" else {}
    with av.open(str(target), "w", format=form) as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(encoder, rate=30, options=lossless)
        stream.width, stream.height, stream.pix_fmt = 48, 32, pixels
        for frame in FRAMES[:frames]:
            wide = np.tile(frame, (1, 2, 1))[:, :48]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(wide, format="rgb24")))
        container.mux(stream.encode())
    return target


def marked(folder: Path, name: str, frames: int = 3) -> Path:
    target = folder / name
    if target.suffix == ".png":
        write_png(target, FRAME, COMMENT)
        return target
    if name in BY_PYAV:
        append_mark(unmarked(target, frames, tags(COMMENT)), COMMENT)
        return target
    return write(target, FRAMES[:frames], comment=COMMENT, scale=2)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_mark_is_read_back(tmp_path, name, frames):
    path = marked(tmp_path, name, frames)
    assert find_mark(path) == FULL_MARK
    assert len(decoded(path)) == (1 if name == "out.png" else frames)


@pytest.mark.parametrize("name", NAMES)
def test_exiftool_reads_the_mark_in_every_kind_of_file(tmp_path, name):
    options = ["-json", "-DigitalSourceType", "-CreatorTool", "-Description", "-Comment"]
    command = ["exiftool", *options, "-Warning", "-Error", str(marked(tmp_path, name))]
    (found,) = json.loads(subprocess.check_output(command))
    assert found.pop("SourceFile")
    assert found.pop("DigitalSourceType") == DIGITAL_SOURCE_TYPE
    assert found.pop("CreatorTool", f"vidgan {__version__}") == f"vidgan {__version__}"
    # The description of XMP, the tag of a film, or both.
    assert found and all(json.loads(text) == COMMENT for text in found.values()), found


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("name", BY_PYAV)
def test_the_mark_changes_no_frame_and_no_warning(tmp_path, name, frames):
    path = unmarked(tmp_path / name, frames, tags(COMMENT))
    before = decoded(path)
    append_mark(path, COMMENT)
    assert len(before) == frames and np.array_equal(before, decoded(path))
    command = ["ffmpeg", "-v", "warning", "-i", tmp_path / name, "-f", "null", "-"]
    if name != "lossless.webp":  # FFmpeg says that it skips XMP there
        assert subprocess.run(command, check=True, capture_output=True).stderr == b""


@pytest.mark.parametrize("length", [10, 1200, 1500, 10_000])
def test_the_packet_of_an_apng_hides_no_frames_however_long(tmp_path, length):
    comment = {"path": "x" * length}
    path = unmarked(tmp_path / "out.apng")
    append_mark(path, comment)
    data = path.read_bytes()
    assert (data.index(b"iTXt") < data.index(b"IDAT")) == (length <= 1200)
    with Image.open(path) as picture:
        assert picture.n_frames == 3
        picture.seek(2)
        picture.load()
        assert picture.info["XML:com.adobe.xmp"].encode() == xmp_packet(comment)
    assert len(decoded(path)) == 3  # by FFmpeg, which guesses the kind from the first bytes
    assert find_mark(path)["comment"] == comment


def test_each_frame_of_a_folder_is_marked(tmp_path):
    files = list(marked(tmp_path, "frames").iterdir())
    assert len(files) == 3
    assert all(find_mark(file) == FULL_MARK for file in files)


@pytest.mark.parametrize("name", ["out.gif", "out.webp", "out.png", *BY_PYAV])
def test_a_file_without_a_mark_gives_none(tmp_path, name):
    assert find_mark(unmarked(tmp_path / name)) is None


def test_an_empty_file_has_no_mark_and_a_missing_one_is_an_error(tmp_path):
    (tmp_path / "empty.png").touch()
    assert find_mark(tmp_path / "empty.png") is None
    with pytest.raises(UsageError, match="no such file"):
        find_mark(tmp_path / "none.png")


def test_the_packet_is_well_formed_xml_with_the_iptc_value():
    ns = {
        "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "dc": "http://purl.org/dc/elements/1.1/",
    }
    tree = ET.fromstring(xmp_packet(COMMENT).decode())
    description = tree.find(".//rdf:Description", ns)
    iptc = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert description.get(iptc) == DIGITAL_SOURCE_TYPE
    assert json.loads(description.findtext(".//rdf:li", namespaces=ns)) == COMMENT
    assert description.find("dc:description", ns) is not None
    assert ET.fromstring(xmp_packet().decode()).find(".//dc:description", ns) is None


def test_mp4_ends_in_the_xmp_box_and_holds_the_comment_as_a_tag(tmp_path):
    path = marked(tmp_path, "out.mp4")
    body = bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + xmp_packet(COMMENT)
    assert path.read_bytes().endswith(struct.pack(">I", 8 + len(body)) + b"uuid" + body)
    with av.open(str(path)) as container:
        assert json.loads(container.metadata["comment"]) == COMMENT


@pytest.mark.parametrize("frames", [1, 3])
def test_pillow_finds_the_packet_where_the_formats_keep_it(tmp_path, frames):
    with Image.open(marked(tmp_path, "out.webp", frames)) as picture:
        picture.load()
        assert picture.size == (64, 64)
        assert picture.info["xmp"] == xmp_packet(COMMENT)
    with Image.open(marked(tmp_path, "out.png")) as picture:
        assert picture.info["XML:com.adobe.xmp"].encode() == xmp_packet(COMMENT)


def test_gif_holds_the_packet_in_its_application_extension(tmp_path):
    data = marked(tmp_path, "out.gif").read_bytes()
    at = data.index(b"\x21\xff\x0bXMP DataXMP") + 14
    packet = xmp_packet(COMMENT)
    assert data[at : at + len(packet)] == packet
    # From wherever in the packet a reader of sub-blocks starts, it comes out before the trailer.
    for start in range(at, at + len(packet)):
        block = start
        while data[block]:
            block += 1 + data[block]
        assert data[block + 1 :] in (b"\x3b", b"\x00\x3b")


@pytest.mark.parametrize(
    "form",
    [
        '<rdf:Description Iptc4xmpExt:DigitalSourceType="{}"/>',
        "<Iptc4xmpExt:DigitalSourceType>{}</Iptc4xmpExt:DigitalSourceType>",
        '<Iptc4xmpExt:DigitalSourceType rdf:resource="{}"/>',
    ],
)
def test_the_mark_of_another_tool_is_found(tmp_path, form):
    path = tmp_path / "other.jpg"
    packet = b"<x:xmpmeta>%s</x:xmpmeta>" % form.format(DIGITAL_SOURCE_TYPE).encode()
    Image.fromarray(FRAME).save(path, xmp=packet)
    assert find_mark(path) == {"digital_source_type": DIGITAL_SOURCE_TYPE}


@pytest.mark.parametrize("name", ["out.png", "out.gif", "plain.mp4", "out.mov"])
def test_the_mark_that_exiftool_wrote_is_found(tmp_path, name):
    target = unmarked(tmp_path / name)
    option = f"-XMP-iptcExt:DigitalSourceType={DIGITAL_SOURCE_TYPE}"
    subprocess.run(["exiftool", "-q", "-overwrite_original", option, target], check=True)
    assert find_mark(target)["digital_source_type"] == DIGITAL_SOURCE_TYPE


@pytest.mark.parametrize(
    "data",
    [
        b"<x:xmpmeta" * 200_000,
        b"<x:xmpmeta></x:xmpmeta>" * 100_000,
        b"<x:xmpmeta>" + b"<dc:description>" * 200_000 + b"</x:xmpmeta>",
        b"<x:xmpmeta><dc:description>" + b"<rdf:li" * 400_000 + b"</x:xmpmeta>",
        b"<x:xmpmeta><dc:description>" + b"<rdf:li>" * 400_000 + b"</x:xmpmeta>",
        b"<x:xmpmeta>" + b'DigitalSourceType="' * 150_000 + b"</x:xmpmeta>",
        (b'digital_source_type":"' + b"a" * 190) * 10_000,
    ],
    ids=range(7),
)
def test_a_hostile_file_ends_soon(tmp_path, data):
    (tmp_path / "hostile").write_bytes(data)
    code = (
        "from pathlib import Path; from vidgan.marks.xmp import find_mark; "
        "assert find_mark(Path('hostile')) is None"
    )
    # Where a search starts again at every byte it takes hours: this is no measure of speed.
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=120)


def test_of_a_huge_file_both_ends_are_read_and_little_is_kept(tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:  # sparse
        file.truncate(1 << 40)
        file.seek(0, 2)
        file.write(b"<x:xmpmeta>")
        file.truncate((1 << 40) + 10_000_000)
        assert find_mark(path) is None  # a packet that does not end
        file.seek(0, 2)
        file.write(xmp_packet(COMMENT))
    assert find_mark(path) == FULL_MARK


def test_a_tag_in_matroska_is_enough(tmp_path):
    path = unmarked(tmp_path / "out.mkv", tags={"DIGITAL_SOURCE_TYPE": DIGITAL_SOURCE_TYPE})
    assert find_mark(path) == {"digital_source_type": DIGITAL_SOURCE_TYPE}


def test_the_xmp_of_a_camera_is_no_mark(tmp_path):
    path = tmp_path / "photo.jpg"
    packet = f'<x:xmpmeta><r Iptc4xmpExt:DigitalSourceType="{CAMERA}"/></x:xmpmeta>'
    Image.fromarray(FRAME).save(path, xmp=packet.encode())
    assert find_mark(path) is None


@pytest.mark.parametrize("value", [DIGITAL_SOURCE_TYPE, CAMERA, None])
def test_a_model_file_says_what_its_output_is(tmp_path, value):
    metadata = {MODEL_KEY: value} if value else {"other": "x"}
    save_file({"w": FRAME}, tmp_path / "g.safetensors", metadata=metadata)
    graph = onnx.helper.make_graph([], "g", [], [])
    model = onnx.helper.make_model(graph)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, tmp_path / "g.onnx")
    save_file({"w": FRAME}, tmp_path / "bare.safetensors")
    for name in ("g.safetensors", "g.onnx"):
        mark = {MODEL_KEY: value} if value == DIGITAL_SOURCE_TYPE else None
        assert find_mark(tmp_path / name) == mark
    assert find_mark(tmp_path / "bare.safetensors") is None
