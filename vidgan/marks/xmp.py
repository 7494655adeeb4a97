"""The mark of synthetic media: written into everything vidgan makes, and read back.

A picture or film carries an XMP packet whose IPTC DigitalSourceType says that a trained model made
it; where there is no place for XMP (Matroska, WebM, model files), a tag holds the same value. The
mark is a plain statement, neither signed nor hard to remove: its absence says nothing about where a
picture came from. `vidgan.marks.c2pa` can sign it.
"""

import html
import json
import mmap
import os
import re
import struct
import uuid
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from vidgan import __version__
from vidgan.errors import UsageError

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MODEL_KEY = "digital_source_type"  # where a model file's metadata holds the same value
PNG_KEYWORD = "XML:com.adobe.xmp"  # of the iTXt chunk that holds the packet

_MATROSKA = b"\x1a\x45\xdf\xa3"  # the first bytes of .mkv and .webm
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_BYTES, _PNG_END_BYTES = 33, 12  # signature and IHDR; IEND
_MP4_XMP = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes
_WEBP_XMP_FLAG, _WEBP_ALPHA_FLAG = 0x04, 0x10  # in the first byte of the VP8X chunk
# A reader of GIF that knows no XMP takes the packet for sub-blocks of arbitrary length; wherever it
# lands in these falling bytes, the next length leads it to the closing zero.
_GIF_TRAILER = b"\x01" + bytes(range(0xFF, -1, -1)) + b"\x00"
_MAX_PACKET_BYTES = 4 << 20  # a file may be hostile
_END_BYTES = 32 << 20
# Key and value as protobuf (ONNX), JSON (safetensors) and Matroska spell them.
_TAG = re.compile(
    rb"(?is)digital_source_type(?:\x12.|\"\s?:\s?\"|\x44\x87.)([\w:/.-]{,200}?algorithmicMedia)"
)

_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmp:CreatorTool="vidgan {version}"
 Iptc4xmpExt:DigitalSourceType="{source_type}">{description}</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
_DESCRIPTION = (
    '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{}</rdf:li></rdf:Alt></dc:description>'
)


def comment_json(comment: Mapping[str, object]) -> str:
    """How a file was made (model hash, path, seed, ...), as one line of JSON in ASCII."""
    return json.dumps(comment, separators=(",", ":"))


def xmp_packet(comment: Mapping[str, object] | None = None) -> bytes:
    """The mark as an XMP packet; `comment` becomes its dc:description, as JSON."""
    text = html.escape(comment_json(comment), quote=False) if comment else ""
    packet = _PACKET.format(
        version=__version__,
        source_type=DIGITAL_SOURCE_TYPE,
        description=_DESCRIPTION.format(text) if text else "",
    )
    return packet.encode()


def tags(comment: Mapping[str, object] | None = None) -> dict[str, str]:
    """The mark as tags of a film, for a muxer to write: Matroska and WebM have no place for XMP."""
    told = {"comment": comment_json(comment)} if comment else {}
    return told | {"DIGITAL_SOURCE_TYPE": DIGITAL_SOURCE_TYPE, "XMP": xmp_packet(comment).decode()}


def append_mark(path: Path, comment: Mapping[str, object] | None = None) -> None:
    """Put the mark into a finished MP4, MOV, APNG, GIF or WebP; its pictures stay as they are.

    Matroska and WebM have it already, in the `tags` that their muxer was given.
    """
    packet = xmp_packet(comment)
    with path.open("r+b") as file:
        head = file.read(30)
        if head[4:8] == b"ftyp":
            _append_to_mp4(file, packet)
        elif head[:4] == b"GIF8":
            _append_to_gif(file, packet)
        elif head[:8] == _PNG:
            _insert_into_apng(file, packet)
        elif head[:4] != _MATROSKA:
            assert head[:4] == b"RIFF" and head[8:12] == b"WEBP", "a kind of file without a mark"
            _append_to_webp(file, packet, head)


def _append_to_mp4(file: BinaryIO, packet: bytes) -> None:
    file.seek(0, os.SEEK_END)
    file.write(struct.pack(">I", 8 + 16 + len(packet)) + b"uuid" + _MP4_XMP + packet)


def _append_to_gif(file: BinaryIO, packet: bytes) -> None:
    file.seek(-1, os.SEEK_END)
    assert file.read() == b"\x3b", "the GIF is not finished"
    file.seek(-1, os.SEEK_END)
    file.write(b"\x21\xff\x0bXMP DataXMP" + packet + _GIF_TRAILER + b"\x3b")


def _insert_into_apng(file: BinaryIO, packet: bytes) -> None:
    # Ahead of the pixels, since readers may stop there. But FFmpeg takes an APNG for a still unless
    # it finds an fcTL in the first 2 kB: a long packet goes to the end.
    body = b"iTXt" + PNG_KEYWORD.encode() + bytes(5) + packet  # not compressed, of no language
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    size = file.seek(0, os.SEEK_END)
    file.write(chunk)  # so that the disk has room for it
    file.flush()
    with mmap.mmap(file.fileno(), 0) as data:
        short = data.find(b"fcTL", 0, max(0, 2000 - len(chunk))) > 0
        at = _PNG_HEADER_BYTES if short else size - _PNG_END_BYTES
        data.move(at + len(chunk), at, size - at)
        data[at : at + len(chunk)] = chunk


def _append_to_webp(file: BinaryIO, packet: bytes, head: bytes) -> None:
    chunk = b"XMP " + struct.pack("<I", len(packet)) + packet + bytes(len(packet) % 2)
    if head[12:16] == b"VP8X":
        file.seek(20)
        file.write(bytes([head[20] | _WEBP_XMP_FLAG]))
    else:
        # A single frame has no VP8X chunk: one is set in front, which moves those few bytes.
        header = _vp8x(file)
        file.seek(12)
        still = file.read()
        file.seek(12)
        file.write(header + still)
    file.seek(0, os.SEEK_END)
    file.write(chunk)
    size = file.tell() - 8
    file.seek(4)
    file.write(struct.pack("<I", size))


def _vp8x(file: BinaryIO) -> bytes:
    """The extended header of a still WebP: flags, width - 1 and height - 1 in 24 bits each."""
    from PIL import Image

    file.seek(0)
    still = Image.open(file)  # reads the header alone, and leaves the file open
    canvas = b"".join((side - 1).to_bytes(3, "little") for side in still.size)
    flags = _WEBP_XMP_FLAG | (_WEBP_ALPHA_FLAG if still.mode == "RGBA" else 0)
    return b"VP8X" + struct.pack("<IB3x", 10, flags) + canvas


def find_mark(path: Path) -> dict[str, object] | None:
    """Read the mark of synthetic media, whoever wrote it.

    None means "no mark found", never "not synthetic". Else `digital_source_type` (an IPTC address)
    and, where a picture or film has them, `creator_tool` and `comment`. Raises UsageError for a
    missing file.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file, or a folder with no file in it.")
    data = ends(path)
    for mark in map(_parse_packet, _packets(data)):
        if is_synthetic(mark.get(MODEL_KEY, "")):
            return mark
    tag = _TAG.search(data)
    return {MODEL_KEY: tag[1].decode()} if tag else None


def is_synthetic(source_type: object) -> bool:
    # trainedAlgorithmicMedia, algorithmicMedia, compositeWithTrainedAlgorithmicMedia
    return str(source_type).lower().endswith("algorithmicmedia")


def _packets(data: bytes) -> Iterator[str]:
    """Every XMP packet in a file of any format; they are made so that a scan finds them."""
    at = 0
    while (end := data.find(b"</x:xmpmeta>", at)) >= 0:
        start = data.rfind(b"<x:xmpmeta", max(at, end - _MAX_PACKET_BYTES), end)
        if start >= 0:
            yield data[start:end].decode("utf-8", errors="replace")
        at = end + 1


def ends(path: Path) -> bytes:
    """What a file holds, or both ends of a huge one, where every known writer puts a mark."""
    with path.open("rb") as file:
        head = file.read(_END_BYTES)
        file.seek(max(len(head), path.stat().st_size - _END_BYTES))
        return head + file.read(_END_BYTES)


def _parse_packet(packet: str) -> dict[str, object]:
    # By pattern and not by an XML parser: the file may be hostile, and XML can grow without bound.
    mark: dict[str, object] = {}
    for key, name in ((MODEL_KEY, "DigitalSourceType"), ("creator_tool", "CreatorTool")):
        # As an attribute, an element, or an element that refers to a resource.
        if found := re.search(rf"{name}(?: rdf:resource)?(?:=[\"']|>)([^\"'<]+)", packet):
            mark[key] = html.unescape(found[1].strip())
    # No pattern goes on past a "<", so that none takes longer than the packet is.
    below = packet.partition("<dc:description>")[2]
    if found := re.search(r"<rdf:li[^<>]*>([^<]*)<", below):
        text = html.unescape(found[1])
        try:
            mark["comment"] = json.loads(text)
        except (ValueError, RecursionError):
            mark["comment"] = text
    return mark
