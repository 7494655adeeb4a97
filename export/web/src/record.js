// Record the walk as a film. It is encoded frame by frame and not in real time, so that no frame is
// dropped or doubled. The film is H.264 in MP4, or VP9 or VP8 in WebM. This module converts the colours
// itself, to BT.709 limited range, so that they are what the file's tags say. Every film is marked as
// synthetic.

import {
  BufferTarget, EncodedPacket, EncodedVideoPacketSource, Mp4OutputFormat, Output, WebMOutputFormat,
} from "mediabunny";
import { withColours } from "./h264.js";
import { marked, packet, SOURCE } from "./mark.js";

export const BT709 = { primaries: "bt709", transfer: "bt709", matrix: "bt709", fullRange: false };
const KEYFRAME_EVERY_S = 2;
const KINDS = [
  ["avc1.640028", "avc", "MP4"],
  ["avc1.42E028", "avc", "MP4"],
  ["vp09.00.40.08", "vp9", "WebM"],
  ["vp8", "vp8", "WebM"],
];

/** What this browser can encode: { codec, name, container } of each container, the best first. */
export async function formats(width, height) {
  const found = new Map();
  for (const [codec, name, container] of globalThis.VideoEncoder ? KINDS : []) {
    if (found.has(container)) continue;
    const support = await VideoEncoder.isConfigSupported(configOf(codec, width, height, 30)).catch(() => null);
    if (support?.supported) found.set(container, { codec, name, container });
  }
  return [...found.values()];
}

/** The first of them, or null. */
export const bestFormat = async (width, height) => (await formats(width, height))[0] ?? null;

/**
 * Record `frames` pictures. `draw(i)` returns picture i as RGBA of width x height, both even.
 * Returns a Blob. Throws if the encoder fails or `signal` is aborted.
 */
export async function record({ format, frames, fps, width, height, draw, comment, version, onProgress, signal }) {
  const xmp = packet(comment, version);
  const mp4 = format.container === "MP4";
  const target = new BufferTarget();
  const output = new Output({ target, format: mp4 ? new Mp4OutputFormat({ fastStart: "in-memory" }) : new WebMOutputFormat() });
  const track = new EncodedVideoPacketSource(format.name);
  output.addVideoTrack(track, { frameRate: fps });
  output.setMetadataTags(mp4 ? { comment } : { comment, raw: { DIGITAL_SOURCE_TYPE: SOURCE, XMP: xmp } });
  await output.start();

  // The encoder hands over packets by callback. They are written in that order. The first error is kept.
  let failure = null;
  let written = Promise.resolve();
  const write = (chunk, meta) => {
    if (meta?.decoderConfig) {
      meta.decoderConfig.colorSpace = BT709;
      if (format.name === "avc") meta.decoderConfig.description = withColours(meta.decoderConfig.description);
    }
    const piece = EncodedPacket.fromEncodedChunk(chunk);
    written = written.then(() => track.add(piece, meta)).catch((error) => (failure ??= error));
  };
  const encoder = new VideoEncoder({ output: write, error: (error) => (failure ??= error) });
  encoder.configure(configOf(format.codec, width, height, fps));
  try {
    const planes = new Uint8Array((width * height * 3) / 2);
    for (let i = 0; i < frames && !failure; i++) {
      signal?.throwIfAborted();
      toI420(await draw(i), width, height, planes);
      const frame = new VideoFrame(planes, {
        format: "I420", codedWidth: width, codedHeight: height, colorSpace: BT709,
        timestamp: Math.round((i * 1e6) / fps), duration: Math.round(1e6 / fps),
      });
      encoder.encode(frame, { keyFrame: i % (KEYFRAME_EVERY_S * fps) === 0 });
      frame.close();
      while (encoder.encodeQueueSize > 4 && !failure) await new Promise((done) => setTimeout(done, 1));
      onProgress?.(i + 1);
    }
    if (!failure) await encoder.flush();
    await written;
    if (failure) throw failure;
    await output.finalize();
  } catch (error) {
    if (output.state === "started") await output.cancel();
    throw error;
  } finally {
    if (encoder.state !== "closed") encoder.close();
  }
  return mp4 ? marked(target.buffer, xmp) : new Blob([target.buffer], { type: "video/webm" });
}

function configOf(codec, width, height, fps) {
  const config = { codec, width, height, framerate: fps, bitrate: Math.max(4e6, width * height * fps), latencyMode: "quality" };
  return codec.startsWith("avc1") ? { ...config, avc: { format: "avc" } } : config;
}

/** RGBA to I420 planes, BT.709 limited range. Chroma is the mean of each 2 x 2 pixels. */
export function toI420(rgba, width, height, out) {
  const [uAt, vAt] = [width * height, (width * height * 5) / 4];
  for (let i = 0, p = 0; i < width * height; i++, p += 4) {
    out[i] = 16.5 + 0.182586 * rgba[p] + 0.614231 * rgba[p + 1] + 0.062007 * rgba[p + 2];
  }
  for (let y = 0, c = 0; y < height; y += 2) {
    for (let x = 0; x < width; x += 2, c++) {
      const p = (y * width + x) * 4;
      const q = p + width * 4;
      const r = (rgba[p] + rgba[p + 4] + rgba[q] + rgba[q + 4]) / 4;
      const g = (rgba[p + 1] + rgba[p + 5] + rgba[q + 1] + rgba[q + 5]) / 4;
      const b = (rgba[p + 2] + rgba[p + 6] + rgba[q + 2] + rgba[q + 6]) / 4;
      out[uAt + c] = 128.5 - 0.100644 * r - 0.338572 * g + 0.439216 * b;
      out[vAt + c] = 128.5 + 0.439216 * r - 0.398942 * g - 0.040274 * b;
    }
  }
}
