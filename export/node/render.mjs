// Render generator.onnx or walk.onnx with onnxruntime-node alone:
//
//     npm ci
//     node render.mjs generator.onnx out.mp4 --seed 7 --frames 120    a film, through ffmpeg
//     node render.mjs generator.onnx out.mp4 --walk walk.json         a walk that --save-walk has written
//     node render.mjs walk.onnx pictures/                             a new folder of PNG
//     node render.mjs generator.onnx - --frames 24                    raw RGB to standard output
//
// The same seed or walk gives the same frames as `vidgan render`. Latents are computed by the code of
// the page, in ../web/src. MP4, MOV and PNG are marked as synthetic.

import { spawn } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { crc32, deflateSync } from "node:zlib";

// A module, or one line that says how to get it.
const needed = (name, how) => import(name).catch(({ code, message }) => {
  console.error(`render.mjs: ${/MODULE_NOT_FOUND$/.test(code) ? how : message.split("\n")[0]}`);
  process.exit(1);
});
const ort = await needed("onnxruntime-node", `run npm ci in ${import.meta.dirname} first`);
const { ofSeed, played } = await needed("./walk.mjs", `${join(import.meta.dirname, "../web/src")} is missing; copy it too`);

const SIGNALS = [["SIGINT", 130], ["SIGTERM", 143]];
const SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";
const XMP = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="${SOURCE}"/></rdf:RDF></x:xmpmeta>`;

// Frames as tensors uint8 [1, H, W, 3 or 4]. A file with a walk inside needs none.
async function* pictures(session, { walk, frames, label }) {
  const names = session.inputNames;
  for (let frame = 0; frame < frames; frame++) {
    const { z, weights } = walk?.at(frame) ?? {};
    const feed = {};
    if (z) feed.z = new ort.Tensor("float32", z, [1, z.length]);
    else feed.t = new ort.Tensor("float32", Float32Array.of(frame / frames), [1]); // t from 0 to 1 is one round
    if (names.includes("label")) feed.label = new ort.Tensor("int32", Int32Array.of(label), [1]);
    if (names.includes("class_weights")) feed.class_weights = new ort.Tensor("float32", weights, [1, weights.length]);
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

// Write beside the target and rename, so that no half-written film or folder is left.
async function whole(target, frames, how) {
  const name = resolve(target), part = join(dirname(name), `.part-${process.pid}-${basename(name)}`);
  const stop = new AbortController();
  const clear = () => (stop.abort(), rmSync(part, { recursive: true, force: true }));
  process.once("exit", clear); // after a signal
  try {
    await write(target.endsWith("/") ? `${part}/` : part, frames, { ...how, signal: stop.signal });
    renameSync(part, name);
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
    if (!sink.write(ffmpeg ? onWhite(picture) : picture.data)) await Promise.race([new Promise((ready) => sink.once("drain", ready)), ended ?? new Promise(() => {})]);
    if (ffmpeg && (ffmpeg.exitCode !== null || !ffmpeg.pid)) break;
  }
  ffmpeg?.stdin.end();
  if (ffmpeg && (await ended) !== 0) throw new Error(`ffmpeg: ${told.replace(/^\[.*?\] */, "")}`);
  if (/\.(mp4|m4v|mov)$/.test(target)) appendFileSync(target, uuidBox());
}

// The bytes of a picture, with white where it is transparent, because a film is not.
function onWhite({ data, dims: [, , , channels] }) {
  return channels < 4 ? data : data.map((x, i) => ((i & 3) < 3 ? Math.floor((x * data[i | 3] + (255 - data[i | 3]) * 255 + 127) / 255) : x));
}

// The mark of a film: a box of type uuid, appended to the file.
function uuidBox() {
  const id = Buffer.from("be7acfcb97a942e89c71999491e3afac", "hex"), size = Buffer.alloc(4);
  size.writeUInt32BE(24 + Buffer.byteLength(XMP));
  return Buffer.concat([size, Buffer.from("uuid"), id, Buffer.from(XMP)]);
}

function number(name, text, least, most) {
  if (!/^\d+$/.test(text) || BigInt(text) < least || BigInt(text) > most) throw new Error(`--${name} ${text}: a whole number from ${least} to ${most}`);
  return BigInt(text);
}

// The metadata, which onnxruntime-node does not show: from the side file, if there is one.
function metadata(model) {
  try {
    return JSON.parse(readFileSync(model.replace(/\.onnx$/, ".json"), "utf8")) ?? {};
  } catch {
    return {};
  }
}

// The number of classes; Infinity if nothing says it.
function classesOf(session, model) {
  const weights = session.inputMetadata.find((input) => input.name === "class_weights");
  if (weights) return weights.shape[1];
  return session.inputNames.includes("label") ? metadata(model).classes ?? Infinity : 0;
}

// The walk that the options ask for, with its frames, frames per second and class.
function asked(session, model, { seed, frames, label, walk: file }) {
  const classes = classesOf(session, model), [input] = session.inputMetadata;
  if (label >= classes) throw new Error(`--label ${label}: the model has ${classes ? `0 to ${classes - 1}` : "no classes"}`);
  if (input.name === "t") {
    if (file) throw new Error(`--walk ${file}: ${model} contains a walk already`);
    return { frames: frames ?? metadata(model).frames ?? 120 };
  }
  const known = { zDim: input.shape[1], classes };
  if (!file) {
    const walk = played(ofSeed(seed ?? 0, frames ?? 120, input.shape[1], label === undefined ? [] : [label]), known);
    return { walk, frames: walk.frames, label: label ?? 0 };
  }
  if (!existsSync(file)) throw new Error(`${file}: no such file`);
  let walk;
  try {
    walk = played(readFileSync(file, "utf8"), known);
  } catch (error) {
    throw new Error(`${file}: ${error.message}`);
  }
  if (session.inputNames.includes("label") && new Set(walk.labels).size > 1) {
    throw new Error(`${file}: it mixes classes, which needs a model of vidgan export --classes weights`);
  }
  return { walk, frames: walk.frames, fps: walk.fps, label: walk.labels[0] ?? 0 };
}

async function main() {
  const options = Object.fromEntries(["seed", "frames", "label", "walk", "fps", "scale"].map((name) => [name, { type: "string" }]));
  options.force = { type: "boolean" };
  const { values, positionals: [model, target, more] } = parseArgs({ allowPositionals: true, options });
  if (!target || more) throw new Error(`usage: node render.mjs MODEL.onnx TARGET [--seed 0] [--frames 120] [--label 0] [--walk FILE] [--fps 30] [--scale N] [--force]`);
  const given = (name, least, most) => (values[name] === undefined ? undefined : number(name, values[name], least, most));
  const seed = given("seed", 0n, 2n ** 64n - 1n);
  const [frames, label, scale] = [["frames", 1n, 10n ** 9n], ["label", 0n, 2n ** 31n - 1n], ["scale", 1n, 64n]].map((range) => {
    const value = given(...range);
    return value === undefined ? undefined : Number(value);
  });
  if (values.walk !== undefined && [seed, frames, label].some((value) => value !== undefined)) throw new Error("--walk sets seed, frames and label itself");
  if (values.fps !== undefined && (!/^\d+(\.\d+|\/\d+)?$/.test(values.fps) || !(parseFloat(values.fps) > 0))) throw new Error(`--fps ${values.fps}: for example 30 or 30000/1001`);
  for (const [signal, code] of SIGNALS) process.once(signal, () => process.exit(code));
  process.stdout.on("error", () => process.exit(1)); // the reader has closed the pipe
  if (!existsSync(model)) throw new Error(`${model}: no such file`);
  if (target.endsWith("/") && existsSync(target)) throw new Error(`${target}: exists already; give a new folder`);
  if (existsSync(target) && statSync(target).isDirectory()) throw new Error(`${target}: a folder; ${target}/ takes pictures`);
  if (target !== "-" && existsSync(target) && !values.force) throw new Error(`${target}: exists already; --force replaces it`);
  if (!existsSync(dirname(resolve(target)))) throw new Error(`${target}: its folder does not exist`);
  const session = await ort.InferenceSession.create(model, { executionProviders: ["cpu"], logSeverityLevel: 4 }).catch(() => {
    throw new Error(`${model}: not an ONNX file, or damaged`);
  });
  if (session.outputNames[0] === "image") throw new Error(`${model}: made with --output float, which is not played`);
  if (!["z", "t"].includes(session.inputNames[0]) || session.outputNames[0] !== "frames") {
    throw new Error(`${model}: not what vidgan export makes (z or t to frames)`);
  }
  const film = asked(session, model, { ...values, seed, frames, label });
  await (target === "-" ? write : whole)(target, pictures(session, film), { fps: values.fps ?? film.fps ?? "30", scale });
}

main().catch((error) => {
  const told = error.syscall ? `${error.path}: cannot be written (${error.code})` : error.message;
  console.error(`render.mjs: ${told.split("\n")[0]}`);
  process.exitCode = 1;
});
