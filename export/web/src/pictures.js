// Files of pictures that a canvas cannot write: a PNG with an XMP packet, and a WebP (RFC 9649) or a GIF
// that moves. Python marks them in the same places (vidgan/marks/xmp.py).

/*! The GIF encoder is gifenc 1.0.3, Copyright (c) 2017 Matt DesLauriers, under the MIT License. */
import { GIFEncoder, applyPalette, quantize } from "gifenc/dist/gifenc.esm.js"; // which is used in part

const ascii = (text) => new TextEncoder().encode(text);

export function joined(...parts) {
  const out = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** A PNG with the packet in a chunk behind its header. */
export function withPacket(png, xmp) {
  const body = joined(ascii("iTXtXML:com.adobe.xmp"), new Uint8Array(5), xmp); // not compressed, no language
  const [head, tail] = [new Uint8Array(4), new Uint8Array(4)];
  new DataView(head.buffer).setUint32(0, body.length - 4);
  new DataView(tail.buffer).setUint32(0, crc32(body));
  return new Blob([png.subarray(0, 33), head, body, tail, png.subarray(33)], { type: "image/png" });
}

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

const little = (value, size) => Uint8Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** i) % 256);
const chunk = (name, ...parts) => {
  const body = joined(...parts);
  return joined(ascii(name), little(body.length, 4), body, new Uint8Array(body.length % 2));
};

/** A picture in RGBA with up to 256 colours of its own, for a GIF. */
export function reduced(rgba) {
  const palette = quantize(rgba, 256);
  return { palette, pixels: applyPalette(rgba, palette) };
}

/** A GIF that shows reduced pictures for `ms` each, without end. */
export function gif(stills, { width, height, ms, xmp }) {
  const out = GIFEncoder();
  for (const { palette, pixels } of stills) out.writeFrame(pixels, width, height, { palette, delay: ms });
  // A reader that does not know XMP arrives at the final zero from anywhere in these falling bytes.
  const falling = Uint8Array.from({ length: 257 }, (_, i) => (i ? 256 - i : 1));
  const mark = joined(Uint8Array.of(0x21, 0xff, 0x0b), ascii("XMP DataXMP"), xmp, falling, Uint8Array.of(0));
  return new Blob([out.bytes(), mark, Uint8Array.of(0x3b)], { type: "image/gif" });
}

/** A WebP that shows stills of WebP for `ms` each, without end. */
export function animation(stills, { width, height, ms, xmp }) {
  const size = [little(width - 1, 3), little(height - 1, 3)];
  const frames = stills.map((still) => chunk("ANMF", new Uint8Array(6), ...size, little(ms, 3), little(0b10, 1), pixels(still)));
  const body = joined(
    ascii("WEBP"),
    chunk("VP8X", little(0b110, 4), ...size), // XMP and motion are in it
    chunk("ANIM", little(0, 6)),
    ...frames,
    chunk("XMP ", xmp),
  );
  return new Blob([ascii("RIFF"), little(body.length, 4), body], { type: "image/webp" });
}

/** The chunks of a still that hold its pixels. */
function pixels(still) {
  const view = new DataView(still.buffer, still.byteOffset);
  const found = [];
  for (let at = 12; at + 8 <= still.length; ) {
    const end = at + 8 + view.getUint32(at + 4, true);
    const name = String.fromCharCode(...still.subarray(at, at + 4));
    if (["VP8 ", "VP8L", "ALPH"].includes(name)) found.push(still.subarray(at, end + (end % 2)));
    at = end + (end % 2);
  }
  return joined(...found);
}
