// Render generator.onnx or walk.onnx with onnxruntime-node alone:
//
//     npm ci
//     node render.mjs generator.onnx out.mp4 --seed 7 --frames 120    a film, through ffmpeg
//     node render.mjs walk.onnx pictures/ --frames 24                 a folder of PNG
//     node render.mjs generator.onnx - --frames 24                    raw RGB to standard output
//
// The same seed gives the same frames as `vidgan render`: see "Seeds" in export/README.md. MP4, MOV
// and PNG are marked as synthetic.

import { spawn } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { crc32, deflateSync } from "node:zlib";
import * as ort from "onnxruntime-node";

const TURNS = [13, 15, 26, 6, 17, 29, 16, 24];
const SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";
const XMP = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="${SOURCE}"/></rdf:RDF></x:xmpmeta>`;

// Threefry-2x32-20: two random words for every counter (pair, index).
function threefry(seed, pair, index) {
  const low = Number(seed & 0xffffffffn), high = Number(seed >> 32n);
  const key = [low, high, low ^ high ^ 0x1bd11bda];
  let a = (pair + key[0]) >>> 0, b = (index + key[1]) >>> 0;
  for (let turn = 0; turn < 20; turn++) {
    const left = TURNS[turn % 8];
    a = (a + b) >>> 0;
    b = (((b << left) | (b >>> (32 - left))) ^ a) >>> 0;
    if (turn % 4 === 3) {
      const n = (turn + 1) / 4;
      a = (a + key[n % 3]) >>> 0;
      b = (b + key[(n + 1) % 3] + n) >>> 0;
    }
  }
  return [a, b];
}

// Latent `index`: zDim components, rounded to float32. Its norm follows as one more coordinate.
function keyframe(seed, index, zDim) {
  const z = [];
  for (let pair = 0; z.length < zDim; pair++) {
    const [a, b] = threefry(seed, pair, index);
    const radius = Math.sqrt(-2 * Math.log((a + 1) / 2 ** 32)), angle = 2 * Math.PI * (b / 2 ** 32);
    z.push(Math.fround(radius * Math.cos(angle)), Math.fround(radius * Math.sin(angle)));
  }
  z.length = zDim; // an odd zDim leaves one too many
  return [...z, Math.hypot(...z)];
}

// One latent per frame, on a closed C2 cubic spline through the keyframes of the seed.
function* loop(seed, frames, zDim) {
  const count = Math.max(3, roundHalfEven(frames / 30)), known = new Map();
  const point = (i) => {
    const index = ((i % count) + count) % count;
    if (!known.has(index)) known.set(index, keyframe(seed, index, zDim));
    if (known.size > 128) known.delete(known.keys().next().value); // the oldest
    return known.get(index);
  };
  const slope = (i) => point(i).map((_, d) => {
    let sum = 0; // the weight of a neighbour falls as 0.27^distance
    for (let k = -24; k <= 24; k++) sum += (Math.sqrt(3) - 2) ** Math.abs(k) * (point(i + k + 1)[d] - point(i + k - 1)[d]);
    return (3 / (2 * Math.sqrt(3))) * sum;
  });
  let segment = -1, p, q, m, n;
  for (let frame = 0; frame < frames; frame++) {
    const at = frame * (count / frames), u = at - Math.floor(at);
    if (segment !== Math.floor(at)) {
      segment = Math.floor(at);
      [p, q, m, n] = [point(segment), point(segment + 1), slope(segment), slope(segment + 1)];
    }
    const v = p.map((_, d) => (2 * u ** 3 - 3 * u ** 2 + 1) * p[d] + (u ** 3 - 2 * u ** 2 + u) * m[d]
      + (3 * u ** 2 - 2 * u ** 3) * q[d] + (u ** 3 - u ** 2) * n[d]);
    const norm = v.pop(), length = Math.hypot(...v);
    yield Float32Array.from(v, (x) => x * (norm / length)); // the mean of two latents is too short
  }
}

function roundHalfEven(x) {
  const rest = x - Math.floor(x);
  return Math.floor(x) + (rest > 0.5 || (rest === 0.5 && Math.floor(x) % 2 === 1) ? 1 : 0);
}

// Frames as tensors uint8 [1, H, W, 3 or 4].
async function* pictures(session, { seed, frames, label }) {
  const [input] = session.inputMetadata;
  const path = input.name === "z" ? loop(seed, frames, input.shape[1]) : null;
  for (let frame = 0; frame < frames; frame++) {
    const feed = path
      ? { z: new ort.Tensor("float32", path.next().value, [1, input.shape[1]]) }
      : { t: new ort.Tensor("float32", Float32Array.of(frame / frames), [1]) }; // t from 0 to 1 is one round
    if (session.inputNames.includes("label")) feed.label = new ort.Tensor("int32", Int32Array.of(label), [1]);
    const made = await session.run(feed).catch((error) => {
      throw /out of data bounds/.test(error) ? new Error(`--label ${label}: the model has no such class`) : error;
    });
    yield made.frames;
  }
}

function png({ data, dims: [, height, width, channels] }) {
  const chunk = (kind, content) => {
    const body = Buffer.concat([Buffer.from(kind), content]), ends = Buffer.alloc(8);
    ends.writeUInt32BE(content.length, 0);
    ends.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
  };
  const head = Buffer.alloc(13), rows = Buffer.alloc(height * (width * channels + 1)); // each row starts with a 0: no filter
  head.writeUInt32BE(width, 0), head.writeUInt32BE(height, 4);
  head.set([8, channels === 4 ? 6 : 2], 8); // 8 bits; RGBA or RGB
  for (let y = 0; y < height; y++) rows.set(data.subarray(y * width * channels, (y + 1) * width * channels), y * (width * channels + 1) + 1);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", head), chunk("iTXt", Buffer.from(`XML:com.adobe.xmp\0\0\0\0\0${XMP}`)),
    chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0)),
  ]);
}

// Write to a file beside the target and rename it, so that no half-written film is left.
async function film(target, frames, how) {
  const part = resolve(target, "..", `.part-${process.pid}-${basename(target)}`);
  const stop = new AbortController(), clear = () => (stop.abort(), rmSync(part, { force: true }));
  for (const [name, code] of [["SIGINT", 130], ["SIGTERM", 143]]) process.once(name, () => (clear(), process.exit(code)));
  try {
    await write(part, frames, { ...how, signal: stop.signal });
    renameSync(part, target);
  } catch (error) {
    throw new Error(error.message.replaceAll(part, target));
  } finally {
    clear();
  }
}

// Write frames as PNG into a folder, as raw bytes to standard output, or to ffmpeg.
async function write(target, frames, { fps, scale, signal }) {
  let number = 0, ffmpeg, ended, told = "";
  for await (const picture of frames) {
    if (target.endsWith("/")) {
      mkdirSync(target, { recursive: true });
      writeFileSync(join(target, `${String(number++).padStart(6, "0")}.png`), png(picture));
      continue;
    }
    if (!ffmpeg && target !== "-") {
      const [, height, width, channels] = picture.dims;
      // ffmpeg enlarges in RGB, pixel by pixel, and then converts to BT.709, which the tags name too. Small
      // pictures are enlarged to 512 pixels, because 4:2:0 halves the resolution of colour.
      const factor = scale ?? 2 * Math.ceil(256 / Math.min(height, width));
      const colours = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int,format=yuv420p";
      ffmpeg = spawn("ffmpeg", [
        "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", channels === 4 ? "rgba" : "rgb24", "-s", `${width}x${height}`, "-r", fps, "-i", "-",
        "-vf", `scale=iw*${factor}:ih*${factor}:flags=neighbor,${colours}`, "-crf", "14", "-color_range", "tv",
        "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-movflags", "+faststart", target,
      ], { stdio: ["pipe", "ignore", "pipe"], signal, killSignal: "SIGKILL" });
      ffmpeg.stdin.on("error", () => {}); // ffmpeg's own message says more
      ffmpeg.stderr.on("data", (text) => (told += text));
      ffmpeg.on("error", () => (told = "not installed; it writes films. A folder (pictures/) needs none."));
      ended = new Promise((resolve) => ffmpeg.on("close", resolve));
    }
    const sink = ffmpeg?.stdin ?? process.stdout;
    if (!sink.write(picture.data)) await Promise.race([new Promise((ready) => sink.once("drain", ready)), ended ?? new Promise(() => {})]);
    if (ffmpeg && (ffmpeg.exitCode !== null || !ffmpeg.pid)) break;
  }
  ffmpeg?.stdin.end();
  if (ffmpeg && (await ended) !== 0) throw new Error(`ffmpeg: ${told.replace(/^\[.*?\] */, "")}`);
  if (/\.(mp4|m4v|mov)$/.test(target)) appendFileSync(target, uuidBox());
}

// The mark of a film: a box of type uuid, appended to the file.
function uuidBox() {
  const id = Buffer.from("be7acfcb97a942e89c71999491e3afac", "hex"), size = Buffer.alloc(4);
  size.writeUInt32BE(24 + Buffer.byteLength(XMP));
  return Buffer.concat([size, Buffer.from("uuid"), id, Buffer.from(XMP)]);
}

function whole(name, text, least, most) {
  if (!/^\d+$/.test(text) || BigInt(text) < least || BigInt(text) > most) throw new Error(`--${name} ${text}: a whole number from ${least} to ${most}`);
  return BigInt(text);
}

async function main() {
  const text = (value) => ({ type: "string", default: value });
  const options = { seed: text("0"), frames: text("120"), label: text("0"), fps: text("30"), scale: text() };
  const { values, positionals: [model, target, more] } = parseArgs({ allowPositionals: true, options });
  if (!target || more) throw new Error(`usage: node render.mjs MODEL.onnx TARGET ${Object.keys(options).map((o) => `[--${o} ${values[o] ?? "N"}]`).join(" ")}`);
  const seed = whole("seed", values.seed, 0n, 2n ** 64n - 1n);
  const [frames, label, scale] = [["frames", 1n, 10n ** 9n], ["label", 0n, 2n ** 31n - 1n], ["scale", 1n, 64n]]
    .map(([name, least, most]) => values[name] === undefined ? undefined : Number(whole(name, values[name], least, most)));
  if (!/^\d+(\.\d+|\/\d+)?$/.test(values.fps) || !(parseFloat(values.fps) > 0)) throw new Error(`--fps ${values.fps}: for example 30 or 30000/1001`);
  process.stdout.on("error", () => process.exit(1)); // the reader has closed the pipe
  if (!existsSync(model)) throw new Error(`${model}: no such file`);
  const folder = target.endsWith("/");
  if (!folder && existsSync(target) && statSync(target).isDirectory()) throw new Error(`${target}: a folder; ${target}/ takes pictures`);
  if (!folder && !existsSync(dirname(target))) throw new Error(`${target}: its folder does not exist`);
  const session = await ort.InferenceSession.create(model, { executionProviders: ["cpu"], logSeverityLevel: 4 }).catch(() => {
    throw new Error(`${model}: not an ONNX file, or damaged`);
  });
  if (!["z", "t"].includes(session.inputNames[0]) || session.outputNames[0] !== "frames") {
    throw new Error(`${model}: not what vidgan export makes (z or t to frames)`);
  }
  await (folder || target === "-" ? write : film)(target, pictures(session, { seed, frames, label }), { fps: values.fps, scale });
}

main().catch((error) => {
  const told = error.syscall ? `${error.path}: cannot be written (${error.code})` : error.message;
  console.error(`render.mjs: ${told.split("\n")[0]}`);
  process.exitCode = 1;
});
