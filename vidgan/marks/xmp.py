"""The mark of synthetic media: written into everything vidgan makes, and read back.

A picture or film holds an XMP packet. Its IPTC DigitalSourceType says that a trained model made it.
Files without a place for XMP (Matroska, WebM, models) hold the same value in a tag. The mark is not
signed and is easy to remove, so that a file without it may be synthetic too.
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
from vidgan.disk.files import read_ends
from vidgan.errors import UsageError

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MODEL_KEY = "digital_source_type"  # the key in the metadata of a model file
PNG_KEYWORD = "XML:com.adobe.xmp"  # the name of the iTXt chunk with the packet
_MATROSKA = b"\x1a\x45\xdf\xa3"  # the first bytes of .mkv and .webm
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_BYTES, _PNG_END_BYTES = 33, 12  # the signature with IHDR, and IEND
_MP4_XMP = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes
_WEBP_XMP_FLAG, _WEBP_ALPHA_FLAG = 0x04, 0x10  # in the first byte of the VP8X chunk
# A GIF reader that does not know XMP reads the packet as sub-blocks of random lengths. Wherever it
# then arrives in these falling bytes, the byte there is the distance to the final zero.
_GIF_TRAILER = b"\x01" + bytes(range(0xFF, -1, -1)) + b"\x00"
_MAX_PACKET_BYTES = 4 << 20  # a file may be hostile
# The key and the value in protobuf (ONNX), JSON (safetensors) and Matroska.
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
 xmp:CreatorTool="vidgan {}"
 Iptc4xmpExt:DigitalSourceType="{}">{}</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
_DESCRIPTION = (
    '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{}</rdf:li></rdf:Alt></dc:description>'
)


def xmp_packet(comment: Mapping[str, object] | None = None) -> bytes:
    """The mark as an XMP packet. `comment` (model, path, seed, ...) is in it as JSON."""
    text = html.escape(json.dumps(comment, separators=(",", ":")), quote=False) if comment else ""
    description = _DESCRIPTION.format(text) if text else ""
    return _PACKET.format(__version__, DIGITAL_SOURCE_TYPE, description).encode()


def tags(comment: Mapping[str, object] | None = None) -> dict[str, str]:
    """The mark as tags of a film, which the muxer writes."""
    how = {"comment": json.dumps(comment, separators=(",", ":"))} if comment else {}
    return how | {"DIGITAL_SOURCE_TYPE": DIGITAL_SOURCE_TYPE, "XMP": xmp_packet(comment).decode()}


def append_mark(path: Path, comment: Mapping[str, object] | None = None) -> None:
    """Put the mark into a finished film. Matroska and WebM have no place for XMP but `tags`."""
    packet = xmp_packet(comment)
    with path.open("r+b") as file:
        head = file.read(30)
        if head[4:8] == b"ftyp":
            file.seek(0, os.SEEK_END)
            file.write(struct.pack(">I", 8 + 16 + len(packet)) + b"uuid" + _MP4_XMP + packet)
        elif head[:4] == b"GIF8":
            _append_to_gif(file, packet)
        elif head[:8] == _PNG:
            _insert_into_apng(file, packet)
        elif head[:4] != _MATROSKA:
            assert head[:4] == b"RIFF" and head[8:12] == b"WEBP", "no place for a mark is known"
            _append_to_webp(file, packet, head)


def _append_to_gif(file: BinaryIO, packet: bytes) -> None:
    file.seek(-1, os.SEEK_END)
    assert file.read() == b"\x3b", "the GIF is not finished"
    file.seek(-1, os.SEEK_END)
    file.write(b"\x21\xff\x0bXMP DataXMP" + packet + _GIF_TRAILER + b"\x3b")


def _insert_into_apng(file: BinaryIO, packet: bytes) -> None:
    # The packet goes before the pixels, where some readers stop. But FFmpeg takes an APNG for a
    # still if the first 2 kB hold no fcTL chunk, so that a long packet goes to the end.
    body = b"iTXt" + PNG_KEYWORD.encode() + bytes(5) + packet  # not compressed, no language
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    size = file.seek(0, os.SEEK_END)
    file.write(chunk)  # a full disk raises an error here, which a write through mmap could not
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
        # A WebP of one frame has no VP8X chunk. It is inserted before the frame.
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
    """The VP8X chunk of a still WebP: flags, then width - 1 and height - 1 in 24 bits each."""
    from PIL import Image

    file.seek(0)
    still = Image.open(file)  # reads only the header, and leaves the file open
    canvas = b"".join((side - 1).to_bytes(3, "little") for side in still.size)
    flags = _WEBP_XMP_FLAG | (_WEBP_ALPHA_FLAG if still.mode == "RGBA" else 0)
    return b"VP8X" + struct.pack("<IB3x", 10, flags) + canvas


def find_mark(path: Path) -> dict[str, object] | None:
    """Read the mark of synthetic media, which any program may have written.

    It has `digital_source_type` (an IPTC address) and, if the file has them, `creator_tool` and
    `comment`. A file without a mark (None) may be synthetic too. Raises UsageError for no file.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file, or a folder with no file in it.")
    data = read_ends(path)
    for mark in map(_parse_packet, _packets(data)):
        if is_synthetic(mark.get(MODEL_KEY, "")):
            return mark
    tag = _TAG.search(data)
    return {MODEL_KEY: tag[1].decode()} if tag else None


def is_synthetic(source_type: object) -> bool:
    # trainedAlgorithmicMedia, algorithmicMedia, compositeWithTrainedAlgorithmicMedia
    return str(source_type).lower().endswith("algorithmicmedia")


def _packets(data: bytes) -> Iterator[str]:
    """Every XMP packet in a file. A packet can be found without knowing the file format."""
    at = 0
    while (end := data.find(b"</x:xmpmeta>", at)) >= 0:
        start = data.rfind(b"<x:xmpmeta", max(at, end - _MAX_PACKET_BYTES), end)
        if start >= 0:
            yield data[start:end].decode("utf-8", errors="replace")
        at = end + 1


def _parse_packet(packet: str) -> dict[str, object]:
    # The file may be hostile, and a hostile XML can fill the memory of an XML parser.
    mark: dict[str, object] = {}
    for key, name in ((MODEL_KEY, "DigitalSourceType"), ("creator_tool", "CreatorTool")):
        # As an attribute, an element, or an element that refers to a resource.
        if found := re.search(rf"{name}(?: rdf:resource)?(?:=[\"']|>)([^\"'<]+)", packet):
            mark[key] = html.unescape(found[1].strip())
    # No pattern matches a "<" inside, so that the search takes linear time.
    description = packet.partition("<dc:description>")[2]
    if found := re.search(r"<rdf:li[^<>]*>([^<]*)<", description):
        text = html.unescape(found[1])
        try:
            mark["comment"] = json.loads(text)
        except (ValueError, RecursionError):
            mark["comment"] = text
    return mark
